package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// inode tells files apart. The birth time is in it because a number is used again once its file is gone.
type inode struct {
	major, minor uint32 // one mount of btrfs has a device for each subvolume
	number       uint64
	birth        unix.StatxTimestamp
}

// links is a file with names that have not been seen yet.
type links struct {
	path string
	left uint32
}

// walker writes the tar of a folder.
type walker struct {
	exclude globs
	out     packer
	pace    pacer
	tell    func(read int64)
	read    int64 // bytes of file data
	sum     Summary

	root    unix.Statx_t
	links   map[inode]*links
	headers headers
	names   []byte // buffer to read folders into

	// note is called with each member that is in the tar, whole. May be nil.
	note func(*member) error

	// step is called before an entry is opened ("open") and before a file's data is read ("read"), in tests that change
	// things just then. May be nil.
	step func(what, path string)
}

// archive writes the whole tar of dir.
func (w *walker) archive(ctx context.Context, dir string) error {
	fd, err := openAt(unix.AT_FDCWD, dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("open the root: %w", err)
	}
	defer closeFD(fd)
	if w.root, err = stat(fd, ""); err != nil {
		return fmt.Errorf("stat the root: %w", err)
	}
	w.names = make([]byte, 64<<10)
	if err := w.folder(ctx, fd, &w.root, "."); err != nil {
		return err
	}
	if err := w.out.zeros(ctx, 2*tarBlock); err != nil {
		return err
	}
	w.out.cut()
	return nil
}

// stat looks at a name in a folder without following it, or at the descriptor itself when the name is empty.
func stat(fd int, name string) (st unix.Statx_t, err error) {
	const want = unix.STATX_BASIC_STATS | unix.STATX_BTIME | unix.STATX_MNT_ID
	err = retry(func() error {
		return unix.Statx(fd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH, want, &st)
	})
	return st, err
}

// folder writes an open folder and all below it.
func (w *walker) folder(ctx context.Context, fd int, st *unix.Statx_t, name string) error {
	x, err := fileXattrs(fd)
	if err != nil {
		return fmt.Errorf("read %q: %w", name, err)
	}
	if err := w.header(ctx, newMember(name, Folder, st, x)); err != nil {
		return err
	}
	if w.elsewhere(st) {
		w.sum.Mounts = append(w.sum.Mounts, name)
		return nil
	}
	names, err := readNames(fd, w.names)
	if err != nil {
		return fmt.Errorf("read folder %q: %w", name, err)
	}
	for _, d := range names {
		if err := w.entry(ctx, fd, d, join(name, d.name)); err != nil {
			return err
		}
	}
	return nil
}

// join is the path of a name in a folder.
func join(folder, name string) string {
	if folder == "." {
		return name
	}
	return folder + "/" + name
}

// entry writes one name of a folder, with all below it.
func (w *walker) entry(ctx context.Context, dir int, d dirent, name string) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if w.exclude.match(name) {
		return nil
	}
	if w.step != nil {
		w.step("open", name)
	}
	// What was a file may be something else by now. It is looked at again, but not for ever.
	for range 3 {
		err := w.try(ctx, dir, d, name)
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
func (w *walker) try(ctx context.Context, dir int, d dirent, name string) error {
	var st unix.Statx_t
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
	// Not blocking, for the case that it has become a pipe.
	fd, err := openQuietly(dir, d.name)
	if err != nil {
		return gone(err, "open", name)
	}
	defer closeFD(fd)
	if st, err = stat(fd, ""); err != nil {
		return gone(err, "stat", name)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return w.folder(ctx, fd, &st, name)
	case unix.S_IFREG:
		return w.file(ctx, fd, &st, name)
	}
	return errChanged
}

// openQuietly opens for reading, without moving the access time where that is allowed (to the owner and to root).
func openQuietly(dir int, name string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_NONBLOCK
	fd, err := openAt(dir, name, flags|unix.O_NOATIME, 0)
	if err == unix.EPERM {
		fd, err = openAt(dir, name, flags, 0)
	}
	return fd, err
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
	case CharDevice, BlockDevice:
		m.major, m.minor = st.Rdev_major, st.Rdev_minor
	}
	return m
}

// header writes what goes before a member's data.
func (w *walker) header(ctx context.Context, m *member) error {
	h, err := w.headers.of(m)
	if err != nil {
		return fmt.Errorf("header of %q: %w", m.Path, err)
	}
	w.sum.Entries++
	m.from = w.out.plain
	if err := w.out.write(ctx, h); err != nil {
		return err
	}
	m.data = w.out.plain
	if m.Kind == File {
		return nil // its data are to come
	}
	return w.done(m)
}

// done says that a member is in the tar, with its data.
func (w *walker) done(m *member) error {
	if w.note == nil {
		return nil
	}
	return w.note(m)
}

// link writes a further name of a file that is in the archive already, if it is one.
func (w *walker) link(ctx context.Context, st *unix.Statx_t, name string) (done bool, err error) {
	if st.Nlink < 2 {
		return false, nil
	}
	key := inode{st.Dev_major, st.Dev_minor, st.Ino, st.Btime}
	first := w.links[key]
	if first == nil {
		w.links[key] = &links{name, st.Nlink - 1}
		return false, nil
	}
	if first.left--; first.left == 0 {
		delete(w.links, key) // all names have been seen
	}
	m := newMember(name, Hardlink, st, nil)
	m.Linkname = first.path
	return true, w.header(ctx, m)
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
