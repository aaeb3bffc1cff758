// Package durable keeps small files whole: one that is written is, after any crash, either as it was or as it was meant to be,
// and one that is locked has one holder among all processes of the machine.
//
// What the files mean, and what to do about one that something else has damaged, is for their owners to know.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// WriteFile makes path hold data, in place of whatever was there, with exactly the permissions perm. When it returns nil, that
// survives a power cut; when it returns an error, what was there is still there (or, if only the folder could not be synced,
// data is).
//
// A crash in the middle can leave a file behind whose name is path's with a dot before it and digits after it.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	if err := replace(path, data, perm); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return SyncDir(filepath.Dir(path))
}

func replace(path string, data []byte, perm fs.FileMode) (err error) {
	// renameio would look for a place in $TMPDIR, and by default keep the permissions of the file that is replaced.
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(perm))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Cleanup()) }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

// SyncDir makes the names in a folder survive a power cut: those that were added, those that were removed.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	// A file system that cannot sync a folder says EINVAL (fsync(2)); nothing better can be had from it.
	err = dir.Sync()
	if errors.Is(err, unix.EINVAL) {
		err = nil
	}
	if err := errors.Join(err, dir.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	return nil
}

// SyncFileSystem makes all that was written to the file system of a folder, by whomever, survive a power cut.
func SyncFileSystem(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync file system: %w", err)
	}
	if err := errors.Join(unix.Syncfs(int(dir.Fd())), dir.Close()); err != nil {
		return fmt.Errorf("sync file system of %s: %w", path, err)
	}
	return nil
}
