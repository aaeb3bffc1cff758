package rclone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/backupd/backupd/internal/targets"
)

// List is described at targets.Store. Files that others put there are listed too when their names make a key.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[targets.Object, error] {
	return func(yield func(targets.Object, error) bool) {
		if err := targets.CheckPrefix(prefix); err != nil {
			yield(targets.Object{}, fmt.Errorf("list: %w", err))
			return
		}
		found, err := s.list(ctx, prefix)
		if err != nil {
			yield(targets.Object{}, fmt.Errorf("list %s: %w", s.at.of(prefix), err))
			return
		}
		for _, o := range found {
			if !yield(o, nil) {
				return
			}
		}
	}
}

// list holds all that it finds, as rclone lists in no order.
func (s *Store) list(ctx context.Context, prefix string) ([]targets.Object, error) {
	folder := strings.TrimSuffix(prefix, "/")
	found, err := s.files(ctx, folder, prefix)
	switch {
	case isAbsent(err):
		return nil, s.provenAbsent(ctx, folder, err)
	case err != nil:
		return nil, err
	case len(found) == 1 && found[0].Key == prefix+path.Base(s.at.of(folder)):
		// A file that is asked for as a folder is listed as one that is in it.
		if _, err := s.stat(ctx, folder); !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	slices.SortFunc(found, func(a, b targets.Object) int { return strings.Compare(a.Key, b.Key) })
	for i := range found[min(1, len(found)):] {
		if found[i].Key == found[i+1].Key {
			return nil, fmt.Errorf("there are two files %s, of which each may be read for the other: see `rclone dedupe`", s.at.of(found[i].Key))
		}
	}
	return found, nil
}

// provenAbsent is nil when the folder is not there, and failure when it is: then something in it has vanished while it was listed.
func (s *Store) provenAbsent(ctx context.Context, folder string, failure error) error {
	_, err := s.output(ctx, "lsjson", "--stat", s.at.of(folder))
	switch {
	case isAbsent(err):
		return nil
	case err != nil:
		return err
	}
	return failure
}

func (s *Store) files(ctx context.Context, folder, prefix string) ([]targets.Object, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := s.command(ctx, "lsjson", "--recursive", "--files-only", "--no-mimetype", s.at.of(folder))
	out, err := p.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	found, err := decode(out, prefix)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		cancel(err) // it may be far from its end
	}
	// An end that came too early is less to know than why.
	if failure := p.wait(); failure != nil {
		return nil, failure
	}
	return found, err
}

// most is how many files a listing may have: some 250 MB in memory.
const most = 1 << 20

// decode reads a JSON array of entries, and gives the objects that they are.
func decode(r io.Reader, prefix string) ([]targets.Object, error) {
	var found []targets.Object
	d := json.NewDecoder(r)
	if err := delimiter(d, '['); err != nil {
		return nil, err
	}
	for d.More() {
		var e entry
		if err := d.Decode(&e); err != nil {
			return nil, early(err)
		}
		if e.IsDir || targets.CheckUnreserved(prefix+e.Path) != nil || e.Size < 0 {
			continue // of no concern
		}
		if len(found) == most {
			return nil, fmt.Errorf("there are more than %d files", most)
		}
		found = append(found, targets.Object{Key: prefix + e.Path, Size: e.Size, Modified: e.ModTime})
	}
	return found, delimiter(d, ']')
}

func delimiter(d *json.Decoder, want json.Delim) error {
	token, err := d.Token()
	if err != nil {
		return early(err)
	}
	if token != want {
		return fmt.Errorf("read rclone's listing: there is %v, where %v should be", token, want)
	}
	return nil
}

func early(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read rclone's listing: %w", err)
}
