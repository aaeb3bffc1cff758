package rclone

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"time"
)

// entry is what rclone tells of a file.
type entry struct {
	Path    string
	Size    int64 // bytes
	ModTime time.Time
	IsDir   bool
}

// stat is fs.ErrNotExist for whatever is not a file.
func (s *Store) stat(ctx context.Context, key string) (entry, error) {
	out, err := s.output(ctx, "lsjson", "--stat", "--no-mimetype", s.at.of(key))
	if isAbsent(err) {
		return entry{}, fs.ErrNotExist
	}
	if err != nil {
		return entry{}, err
	}
	return parseStat(out)
}

// parseStat reads what rclone tells of one file; some remotes have it tell "null" of one that is not there.
func parseStat(out []byte) (entry, error) {
	if text := bytes.TrimSpace(out); len(text) == 0 || bytes.Equal(text, []byte("null")) {
		return entry{}, fs.ErrNotExist
	}
	var e entry
	if err := json.Unmarshal(out, &e); err != nil {
		return entry{}, fmt.Errorf("read what rclone tells of it: %w", err)
	}
	if e.IsDir {
		return entry{}, fs.ErrNotExist
	}
	return e, nil
}
