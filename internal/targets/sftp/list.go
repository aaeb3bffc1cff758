package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/backupd/backupd/internal/targets"
)

// List is described at targets.Store. Files that others put into the folder are listed too when their names make a key; links, pipes
// and the like are not.
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

// walk holds the objects of one folder in memory, and of those that lead to it.
func (s *Store) walk(ctx context.Context, prefix string, yield func(targets.Object) bool) error {
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
	var infos []os.FileInfo
	err := s.retry(ctx, func(c *connection) (err error) {
		if infos, err = c.ReadDir(s.path(prefix)); errors.Is(err, fs.ErrNotExist) {
			err = s.absent(c)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it may have gone since it was listed
	}
	var found []targets.Object
	for _, info := range infos {
		key := prefix + info.Name()
		switch {
		case checkName(info.Name()) != nil || targets.CheckUnreserved(key) != nil: // of no concern
		case info.IsDir():
			found = append(found, targets.Object{Key: key + "/"})
		case info.Mode().IsRegular():
			found = append(found, targets.Object{Key: key, Size: info.Size(), Modified: info.ModTime()})
		}
	}
	slices.SortFunc(found, func(a, b targets.Object) int { return strings.Compare(a.Key, b.Key) })
	return found, err
}

// checkName is for what a server calls the name of a file, which must not lead out of its folder.
func checkName(name string) error {
	if strings.Contains(name, "/") {
		return fmt.Errorf("%q as a name: %w", name, fs.ErrInvalid)
	}
	return targets.CheckKey(name)
}
