package sftp

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"

	"github.com/backupd/backupd/internal/targets"
)

// List is described at targets.Store. Files that others put into the folder are listed too when their names make a key; links, pipes
// and the like are not.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[targets.Object, error] {
	return targets.ListFolders(ctx, prefix, s.entries, func(err error) error { return s.wrap("list", prefix, err) })
}

// entries gives what is in a folder and has a key, as targets.Folder wants it.
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
		case targets.CheckName(info.Name()) != nil || targets.CheckUnreserved(key) != nil: // of no concern
		case info.IsDir():
			found = append(found, targets.Object{Key: key + "/"})
		case info.Mode().IsRegular():
			found = append(found, targets.Object{Key: key, Size: info.Size(), Modified: info.ModTime()})
		}
	}
	return found, err
}
