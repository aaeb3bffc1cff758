package local

import (
	"crypto/rand"
	"errors"
	"os"
	"path"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// draft is a file that is being written and has no key yet. Where the file system can (ext4, XFS, Btrfs, tmpfs), it has no name at
// all, and the kernel takes it away when its writer dies. Elsewhere (NFS, SMB, FAT) it has a name that List does not show.
type draft struct {
	*os.File
	dir  *os.File // the folder that the file is in
	name string   // in dir; "" without one
}

const (
	draftPrefix = ".backupd-"
	draftSuffix = ".tmp"
)

func isDraft(name string) bool {
	ok, _ := path.Match(draftPrefix+"*"+draftSuffix, name) // that pattern is sound
	return ok
}

func (s *Store) draft(root *os.Root, folder string) (*draft, error) {
	dir, err := openDir(root, folder)
	if err != nil {
		return nil, err
	}
	d := &draft{dir: dir}
	if !s.named {
		d.File, err = root.OpenFile(folder, os.O_RDWR|unix.O_TMPFILE, 0o440)
	}
	if s.named || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EISDIR) {
		d.name = draftPrefix + rand.Text() + draftSuffix
		d.File, err = root.OpenFile(path.Join(folder, d.name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o440)
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return d, nil
}

func (d *draft) named() bool { return d.name != "" }

// publish gives the file its name, durably, and never replaces what has it already.
func (d *draft) publish(name string) error {
	if err := d.Sync(); err != nil {
		return err
	}
	if err := d.rename(name); err != nil {
		return err
	}
	if err := syncDir(d.dir); err != nil {
		return errors.Join(err, unix.Unlinkat(int(d.dir.Fd()), name, 0)) // the caller is told that it is not there
	}
	return nil
}

func (d *draft) rename(name string) error {
	dir := int(d.dir.Fd())
	if !d.named() {
		self := "/proc/self/fd/" + strconv.Itoa(int(d.Fd()))
		return unix.Linkat(unix.AT_FDCWD, self, dir, name, unix.AT_SYMLINK_FOLLOW)
	}
	err := unix.Renameat2(dir, d.name, dir, name, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) { // NFS
		return unix.Linkat(dir, d.name, dir, name, 0) // discard takes the other name away
	}
	if err == nil {
		d.name = ""
	}
	return err
}

// discard lets go of the file, and of its own name when it has one.
func (d *draft) discard() error {
	var err error
	if d.named() {
		err = unix.Unlinkat(int(d.dir.Fd()), d.name, 0)
	}
	return errors.Join(err, d.Close(), d.dir.Close())
}

// abandoned is how long after the last write to a draft its writer is taken for dead. It may be on another machine, where no lock
// would tell; but none pauses that long.
const abandoned = 24 * time.Hour

// sweep removes what dead writers left beside a draft that has a name. Time is told by the file system, from that draft. What
// cannot be removed is only lost room, so that errors are no reason to fail.
func (d *draft) sweep() {
	here, err := d.Stat()
	if err != nil || !d.named() {
		return
	}
	entries, _ := d.dir.ReadDir(-1)
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && isDraft(e.Name()) && here.ModTime().Sub(info.ModTime()) > abandoned {
			_ = unix.Unlinkat(int(d.dir.Fd()), e.Name(), 0)
		}
	}
}
