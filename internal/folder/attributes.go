package folder

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes are what a folder has besides its content: owner, mode, times, extended attributes.
type attributes struct {
	info   os.FileInfo
	xattrs map[string][]byte
}

func readAttributes(dir string) (attributes, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return attributes{}, err
	}
	values, err := xattrs(dir)
	return attributes{info, values}, err
}

// apply gives them to a folder. Extended attributes that it has besides go.
func (a attributes) apply(dir string) error {
	st := a.info.Sys().(*syscall.Stat_t)
	if err := os.Chown(dir, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := os.Chmod(dir, a.info.Mode()); err != nil {
		return err
	}
	if err := a.applyXattrs(dir); err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, dir, []unix.Timespec{unix.Timespec(st.Atim), unix.Timespec(st.Mtim)}, 0)
}

func (a attributes) applyXattrs(dir string) error {
	had, err := xattrs(dir)
	if err != nil {
		return err
	}
	for name := range had {
		if _, stays := a.xattrs[name]; !stays {
			if err := unix.Removexattr(dir, name); err != nil {
				return &os.PathError{Op: "remove attribute " + name, Path: dir, Err: err}
			}
		}
	}
	for name, value := range a.xattrs {
		if bytes.Equal(had[name], value) {
			continue // it may be one that only the kernel sets
		}
		if err := unix.Setxattr(dir, name, value, 0); err != nil {
			return &os.PathError{Op: "set attribute " + name, Path: dir, Err: err}
		}
	}
	return nil
}

// maxXattrs is the most that the kernel gives of names or of one value (xattr(7): XATTR_LIST_MAX, XATTR_SIZE_MAX).
const maxXattrs = 64 << 10

func xattrs(path string) (map[string][]byte, error) {
	buf := make([]byte, maxXattrs)
	n, err := unix.Listxattr(path, buf)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "list attributes", Path: path, Err: err}
	}
	values := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, maxXattrs)
		n, err := unix.Getxattr(path, name, value)
		if err != nil {
			return nil, &os.PathError{Op: "read attribute " + name, Path: path, Err: err}
		}
		values[name] = value[:n]
	}
	return values, nil
}

// syncFileSystem makes the exchange survive a power cut before containers build on it.
func syncFileSystem(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Syncfs(int(f.Fd())), f.Close()); err != nil {
		return fmt.Errorf("write back %s: %w", dir, err)
	}
	return nil
}
