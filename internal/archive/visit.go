package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// entry writes one name of the folder at hand. Of a folder that is its header: what is in it comes next.
func (w *walker) entry(ctx context.Context, d dirent, name string) error {
	if w.exclude.match(name) {
		return nil
	}
	if w.step != nil {
		w.step("open", name)
	}
	// What was a file may be something else by now. It is looked at again, but not for ever.
	for range 3 {
		err := w.try(ctx, d, name)
		switch err {
		case errChanged:
			d.kind = unix.DT_UNKNOWN
			continue
		case unix.ENOENT, unix.ESTALE:
			w.sum.Vanished++
			return nil
		}
		return err
	}
	w.sum.Vanished++
	return nil
}

// errChanged says that a name is no longer what it was.
var errChanged = errors.New("changed its type")

// try writes an entry. It gives errChanged, or the bare ENOENT or ESTALE of a file that is gone, before anything of it was written.
func (w *walker) try(ctx context.Context, d dirent, name string) error {
	var st unix.Statx_t
	dir := w.trail.top()
	if d.kind != unix.DT_REG && d.kind != unix.DT_DIR {
		var err error
		if st, err = stat(dir, d.name); err != nil {
			return gone(err, "stat", name)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG, unix.S_IFDIR:
		case unix.S_IFSOCK:
			w.sum.Sockets++
			return nil
		default:
			return w.special(ctx, dir, d.name, &st, name)
		}
	}
	fd, err := openQuietly(dir, d.name)
	if err != nil {
		return gone(err, "open", name)
	}
	if st, err = stat(fd, ""); err != nil {
		closeFD(fd)
		return gone(err, "stat", name)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return w.enter(ctx, fd, &st, d.name, name)
	}
	defer closeFD(fd)
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		return w.file(ctx, fd, &st, name)
	}
	return errChanged
}

// openQuietly opens for reading, without moving the access time where that is allowed (to the owner and to root), and without
// blocking, for the case that it has become a pipe.
func openQuietly(dir int, name string) (int, error) {
	fd, err := openNoAccess(dir, name, unix.O_NONBLOCK)
	if err == unix.EAGAIN {
		return openLeased(dir, name)
	}
	return fd, err
}

func openNoAccess(dir int, name string, flags int) (int, error) {
	flags |= unix.O_RDONLY
	fd, err := openAt(dir, name, flags|unix.O_NOATIME, 0)
	if err == unix.EPERM {
		fd, err = openAt(dir, name, flags, 0)
	}
	return fd, err
}

// openLeased opens a file that somebody else has a lease of (fcntl(2), F_SETLEASE): the kernel asks the holder for it, and takes it
// after /proc/sys/fs/lease-break-time, 45 s. Only an open that may block waits for that, so it must be sure first that this is a regular file.
func openLeased(dir int, name string) (int, error) {
	found, err := openAt(dir, name, unix.O_PATH, 0)
	if err != nil {
		return -1, err
	}
	defer closeFD(found)
	st, err := stat(found, "")
	if err != nil {
		return -1, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return -1, unix.ELOOP // for gone to see that it changed
	}
	return reopenFD(found, unix.O_RDONLY)
}

// gone wraps errors, except those that say that the name is not what it was.
func gone(err error, what, name string) error {
	switch err {
	case unix.ENOENT, unix.ESTALE:
		return err
	case unix.ELOOP, unix.ENXIO: // a symlink or a socket now
		return errChanged
	}
	return fmt.Errorf("%s %q: %w", what, name, err)
}

// elsewhere tells whether a file is on another file system or mount than the root.
func (w *walker) elsewhere(st *unix.Statx_t) bool {
	if st.Mask&w.root.Mask&unix.STATX_MNT_ID != 0 {
		return st.Mnt_id != w.root.Mnt_id
	}
	return st.Dev_major != w.root.Dev_major || st.Dev_minor != w.root.Dev_minor // before Linux 5.8
}

// newMember is what a stat says of an entry.
func newMember(name string, kind Kind, st *unix.Statx_t, x []xattr) *member {
	m := &member{Entry: Entry{
		Path: name, Kind: kind, Mode: uint32(st.Mode) & 0o7777, UID: st.Uid, GID: st.Gid,
		ModTime: time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec)),
	}, xattrs: x, seen: seen{
		changed: stamp{st.Ctime.Sec, st.Ctime.Nsec}, born: stamp{st.Btime.Sec, st.Btime.Nsec},
		device: device{st.Dev_major, st.Dev_minor}, inode: st.Ino,
	}}
	switch kind {
	case File:
		m.Size = int64(st.Size)
		m.stored = m.Size
	case CharDevice, BlockDevice:
		m.major, m.minor = st.Rdev_major, st.Rdev_minor
	}
	return m
}

// special writes a symlink, a device or a pipe.
func (w *walker) special(ctx context.Context, dir int, base string, st *unix.Statx_t, name string) error {
	kinds := map[uint16]Kind{unix.S_IFLNK: Symlink, unix.S_IFCHR: CharDevice, unix.S_IFBLK: BlockDevice, unix.S_IFIFO: Fifo}
	kind, ok := kinds[st.Mode&unix.S_IFMT]
	if !ok {
		return fmt.Errorf("stat %q: unknown type %#o", name, st.Mode)
	}
	if w.elsewhere(st) {
		w.sum.Mounts = append(w.sum.Mounts, name)
		return nil
	}
	if st.Nlink < 2 { // else it may be a link to an earlier one
		if done, err := w.same(ctx, kind, -1, st, name, ""); done || err != nil {
			return err
		}
	}
	x, err := linkXattrs(dir, base)
	if err != nil {
		return gone(err, "read", name)
	}
	m := newMember(name, kind, st, x)
	if kind == Symlink {
		if m.Linkname, err = readLink(dir, base); err != nil {
			return gone(err, "read symlink", name)
		}
	}
	if done, err := w.link(ctx, st, name); done || err != nil {
		return err
	}
	return w.header(ctx, m)
}

func readLink(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	if err == unix.EINVAL {
		return "", unix.ELOOP // no symlink any more: for gone to see that it changed
	}
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
