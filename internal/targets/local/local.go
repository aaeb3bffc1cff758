// Package local is a store in a folder: a disk, or whatever is mounted there.
//
// An object is a file of the name of its key, mode 0440, that appears whole and is durable when it does. No key, and no symbolic
// link that somebody planted, leads outside the folder. That the right thing is mounted there is for others to make sure of.
package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/durable"
	"github.com/backupd/backupd/internal/targets"
)

// Store is a targets.Store. It opens its folder anew for each call, so that what is mounted there by then is what counts.
//
// Unlike other stores it cannot keep both "a" and "a/b".
type Store struct {
	dir   string
	named bool // as on a file system that has no files without a name
}

// Open makes the folder if need be, though not its parent, which may be a disk that is not mounted. One that can only be read is of use,
// too: Check is what says so.
func Open(dir string) (*Store, error) {
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("open target folder %q: it has to be an absolute path, such as /var/backups/backupd", dir)
	}
	s := &Store{dir: filepath.Clean(dir)}
	if err := s.create(); err != nil {
		return nil, err
	}
	root, err := s.root()
	if err != nil {
		return nil, fmt.Errorf("open target folder: %w%s", err, hint(err))
	}
	return s, root.Close()
}

func (s *Store) create() error {
	err := os.Mkdir(s.dir, 0o750)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("create target folder %s: %s is not there: is a disk not mounted? else create it", s.dir, filepath.Dir(s.dir))
	case err != nil:
		return fmt.Errorf("create target folder: %w%s", err, hint(err))
	}
	return durable.SyncDir(filepath.Dir(s.dir))
}

// Check says what keeps objects from being put, if anything does.
func (s *Store) Check(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.probe()
}

// probe writes a block and takes it away again, as folders on a full disk, or over a quota, can often still be added to.
func (s *Store) probe() error {
	err := func() error {
		root, err := s.root()
		if err != nil {
			return err
		}
		defer root.Close()
		d, err := s.draft(root, ".")
		if err != nil {
			return err
		}
		_, err = d.Write(make([]byte, 4096))
		return errors.Join(err, d.Sync(), d.discard())
	}()
	if err != nil {
		return fmt.Errorf("write to target folder %s: %w%s", s.dir, err, hint(err))
	}
	return nil
}

// hint says how to mend what keeps a folder from being written to.
func hint(err error) string {
	switch {
	case errors.Is(err, unix.EROFS):
		return " (mounted read-only, or not among the ReadWritePaths of the systemd unit)"
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf(" (backupd runs as user %d: give the folder to it)", os.Geteuid())
	case errors.Is(err, unix.ENOSPC):
		return " (the disk has no room, or no inode, left)"
	case errors.Is(err, unix.EDQUOT):
		return " (the quota is used up)"
	case errors.Is(err, unix.ENOTDIR):
		return " (a part of the path is a file)"
	}
	return ""
}

// root opens the folder. That the folder is gone is not fs.ErrNotExist, which would say of an object that it does not exist.
func (s *Store) root() (*os.Root, error) {
	root, err := os.OpenRoot(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("target folder %s is gone: is its disk not mounted?", s.dir)
	}
	return root, err
}

// check says what is wrong with a key, or with one that List would take for a draft.
func check(key string) error {
	if err := targets.CheckKey(key); err != nil {
		return err
	}
	for name := range strings.SplitSeq(key, "/") {
		if isDraft(name) {
			return fmt.Errorf("%q as a key, in which a name is reserved: %w", key, fs.ErrInvalid)
		}
	}
	return nil
}

// Delete is described at targets.Store. Folders that it leaves empty stay: another Put may be about to use them.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.remove(ctx, key); err != nil {
		return fmt.Errorf("delete %s in %s: %w", key, s.dir, err)
	}
	return nil
}

func (s *Store) remove(ctx context.Context, key string) (err error) {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := check(key); err != nil {
		return err
	}
	root, err := s.root()
	if err != nil {
		return err
	}
	defer root.Close()
	dir, err := openDir(root, path.Dir(key))
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	// Not os.Root's Remove, which removes empty folders too.
	err = unix.Unlinkat(int(dir.Fd()), path.Base(key), 0)
	if absent(err) || errors.Is(err, unix.EISDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// absent tells whether err says that there is no such file, also when that is because a part of its path is a file.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) }

// openDir opens nothing but a folder: to open a pipe that somebody planted would wait for ever.
func openDir(root *os.Root, name string) (*os.File, error) {
	return root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY, 0)
}

// syncDir makes the names in a folder survive a power cut. A file system that cannot sync a folder says EINVAL (fsync(2)).
func syncDir(dir *os.File) error {
	if err := dir.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}
