package webdav

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"github.com/backupd/backupd/internal/targets"
)

// List is described at targets.Store. Files that others put into the folder are listed too when their names make a key.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[targets.Object, error] {
	return targets.ListFolders(ctx, prefix, s.entries, func(err error) error { return s.wrap("list", prefix, err) })
}

// entries gives what is in a folder and has a key, as targets.Folder wants it.
func (s *Store) entries(ctx context.Context, prefix string) ([]targets.Object, error) {
	listed, err := s.propfind(ctx, prefix, "1")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.absent(ctx) // it may have gone since it was listed
	}
	if err != nil {
		return nil, err
	}
	var found []targets.Object
	for _, e := range listed {
		key := prefix + e.name
		switch {
		case e.name == "" && !e.folder:
			return nil, nil // a file that was asked for as a folder
		case targets.CheckUnreserved(key) != nil || e.name == "": // of no concern
		case e.folder:
			found = append(found, targets.Object{Key: key + "/"})
		case e.size < 0:
			return nil, fmt.Errorf("the server does not tell the size of %s", key)
		default:
			found = append(found, targets.Object{Key: key, Size: e.size, Modified: e.modified})
		}
	}
	return found, nil
}

// absent is nil, unless the whole target is not there.
func (s *Store) absent(ctx context.Context) error {
	if _, err := s.propfind(ctx, "", "0"); errors.Is(err, fs.ErrNotExist) {
		return errors.New("the target's folder is gone: is its disk not mounted?")
	} else if err != nil {
		return err
	}
	return nil
}
