package archive

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// retry repeats a system call that a signal interrupted: Go's own signals do that on some file systems.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// openAt opens a name in a folder, never following a symlink. The name is one component.
func openAt(dir int, name string, flags int, mode uint32) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Openat(dir, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		return err
	})
	return fd, err
}

// stat looks at a name in a folder without following it, or at the descriptor itself when the name is empty.
func stat(fd int, name string) (st unix.Statx_t, err error) {
	const want = unix.STATX_BASIC_STATS | unix.STATX_BTIME | unix.STATX_MNT_ID
	err = retry(func() error {
		return unix.Statx(fd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH, want, &st)
	})
	return st, err
}

// closeFD closes what was only read from. Nothing can be lost by that, so there is no error to tell.
func closeFD(fd int) { _ = unix.Close(fd) }

// reopenFD opens the file that a descriptor is of once more.
func reopenFD(fd, flags int) (again int, err error) {
	err = retry(func() error {
		again, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), flags|unix.O_CLOEXEC, 0)
		return err
	})
	return again, err
}

// writeFullAt writes all of p at an offset.
func writeFullAt(fd int, p []byte, at int64) error {
	_, err := writeFull(p, func(p []byte, done int) (int, error) { return unix.Pwrite(fd, p, at+int64(done)) })
	return err
}

// writeFull writes all of p. write is told how much of it has been before.
func writeFull(p []byte, write func(p []byte, done int) (int, error)) (n int, err error) {
	for n < len(p) {
		var put int
		err := retry(func() (err error) {
			put, err = write(p[n:], n)
			return err
		})
		if err != nil {
			return n, err
		}
		n += put
	}
	return n, nil
}

// procPath is a path to a name in an open folder, for the calls that take no descriptor.
func procPath(dir int, name string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", dir, name) }

// listXattrs and getXattr are the calls that read attributes of one file.
type (
	listXattrs func(dst []byte) (int, error)
	getXattr   func(name string, dst []byte) (int, error)
)

func fileXattrs(fd int) ([]xattr, error) {
	return readXattrs(
		func(dst []byte) (int, error) { return unix.Flistxattr(fd, dst) },
		func(name string, dst []byte) (int, error) { return unix.Fgetxattr(fd, name, dst) })
}

// linkXattrs reads the attributes of what cannot be opened without harm.
func linkXattrs(dir int, name string) ([]xattr, error) {
	path := procPath(dir, name)
	return readXattrs(
		func(dst []byte) (int, error) { return unix.Llistxattr(path, dst) },
		func(name string, dst []byte) (int, error) { return unix.Lgetxattr(path, name, dst) })
}

// readXattrs gives all attributes, sorted by name. File systems without any have none.
func readXattrs(list listXattrs, get getXattr) ([]xattr, error) {
	names, err := grow(list)
	if errors.Is(err, unix.ENOTSUP) || len(names) == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list attributes: %w", err)
	}
	var all []xattr
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		value, err := grow(func(dst []byte) (int, error) { return get(name, dst) })
		if errors.Is(err, unix.ENODATA) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", name, err)
		}
		all = append(all, xattr{name, string(value)})
	}
	slices.SortFunc(all, func(a, b xattr) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// grow calls with a bigger buffer until the answer fits. The kernel's limit for lists and values is 64 KiB.
func grow(call func([]byte) (int, error)) ([]byte, error) {
	var small [256]byte
	buf := small[:]
	for {
		var n int
		err := retry(func() error {
			var err error
			n, err = call(buf)
			return err
		})
		if err == unix.ERANGE && len(buf) <= 64<<10 {
			buf = make([]byte, 4*len(buf))
			continue
		}
		if err != nil {
			return nil, err
		}
		return buf[:n], nil
	}
}
