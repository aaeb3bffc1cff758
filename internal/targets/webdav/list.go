package webdav

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/backupd/backupd/internal/targets"
)

// List is described at targets.Store. Files that others put into the folder are listed too when their names make a key.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[targets.Object, error] {
	return func(yield func(targets.Object, error) bool) {
		if err := targets.CheckPrefix(prefix); err != nil {
			yield(targets.Object{}, fmt.Errorf("list: %w", err))
			return
		}
		err := s.walk(ctx, prefix, func(o targets.Object) bool { return yield(o, nil) })
		if err != nil && !errors.Is(err, errStop) {
			yield(targets.Object{}, s.wrap("list", prefix, err))
		}
	}
}

// errStop says that the caller has seen enough.
var errStop = errors.New("stop")

// deepest is how many folders may be in each other: a server may make up more without an end.
const deepest = 64

// walk holds the objects of one folder in memory, and of those that lead to it.
func (s *Store) walk(ctx context.Context, prefix string, yield func(targets.Object) bool) error {
	if strings.Count(prefix, "/") > deepest {
		return fmt.Errorf("there are more than %d folders in each other", deepest)
	}
	objects, err := s.entries(ctx, prefix)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if strings.HasSuffix(o.Key, "/") {
			if err := s.walk(ctx, o.Key, yield); err != nil {
				return err
			}
		} else if !yield(o) {
			return errStop
		}
	}
	return nil
}

// entries gives what is in a folder and has a key, sorted. Folders are there too, as keys with "/" after them: so they sort as what is
// in them does ("a.b" before "a/b").
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
	slices.SortFunc(found, func(a, b targets.Object) int { return strings.Compare(a.Key, b.Key) })
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
