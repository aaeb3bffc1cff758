package folder

import (
	"bytes"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// attributes are what a folder has besides its content.
type attributes struct {
	Owner    uint32            `json:"owner"`
	Group    uint32            `json:"group"`
	Mode     uint32            `json:"mode"`
	Accessed stamp             `json:"accessed"`
	Modified stamp             `json:"modified"`
	Xattrs   map[string][]byte `json:"xattrs,omitempty"`
}

// stamp is a time as the kernel has it: seconds since 1970, and nanoseconds.
type stamp struct{ Sec, Nsec int64 }

func readAttributes(dir *os.File) (attributes, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return attributes{}, &os.PathError{Op: "stat", Path: dir.Name(), Err: err}
	}
	values, err := xattrs(dir)
	return attributes{
		Owner: st.Uid, Group: st.Gid, Mode: st.Mode & 0o7777, Xattrs: values,
		Accessed: stamp{st.Atim.Sec, st.Atim.Nsec}, Modified: stamp{st.Mtim.Sec, st.Mtim.Nsec},
	}, err
}

// apply gives them to a folder. Extended attributes that it has besides go.
func (a attributes) apply(dir *os.File) error {
	fd := int(dir.Fd())
	if err := unix.Fchown(fd, int(a.Owner), int(a.Group)); err != nil {
		return &os.PathError{Op: "chown", Path: dir.Name(), Err: err}
	}
	if err := unix.Fchmod(fd, a.Mode); err != nil {
		return &os.PathError{Op: "chmod", Path: dir.Name(), Err: err}
	}
	if err := a.applyXattrs(dir); err != nil {
		return err
	}
	times := []unix.Timespec{unix.Timespec(a.Accessed), unix.Timespec(a.Modified)}
	if err := unix.UtimesNanoAt(fd, ".", times, 0); err != nil {
		return &os.PathError{Op: "set times", Path: dir.Name(), Err: err}
	}
	return nil
}

func (a attributes) applyXattrs(dir *os.File) error {
	had, err := xattrs(dir)
	if err != nil {
		return err
	}
	for name := range had {
		if _, stays := a.Xattrs[name]; !stays {
			if err := unix.Fremovexattr(int(dir.Fd()), name); err != nil {
				return &os.PathError{Op: "remove attribute " + name, Path: dir.Name(), Err: err}
			}
		}
	}
	for name, value := range a.Xattrs {
		if old, has := had[name]; has && bytes.Equal(old, value) {
			continue // it may be one that only the kernel sets
		}
		if err := unix.Fsetxattr(int(dir.Fd()), name, value, 0); err != nil {
			return &os.PathError{Op: "set attribute " + name, Path: dir.Name(), Err: err}
		}
	}
	return nil
}

// maxXattrs is the most that the kernel gives of names or of one value (xattr(7): XATTR_LIST_MAX, XATTR_SIZE_MAX).
const maxXattrs = 64 << 10

func xattrs(dir *os.File) (map[string][]byte, error) {
	buf := make([]byte, maxXattrs)
	n, err := unix.Flistxattr(int(dir.Fd()), buf)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "list attributes", Path: dir.Name(), Err: err}
	}
	values := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, maxXattrs)
		n, err := unix.Fgetxattr(int(dir.Fd()), name, value)
		if err != nil {
			return nil, &os.PathError{Op: "read attribute " + name, Path: dir.Name(), Err: err}
		}
		values[name] = bytes.Clone(value[:n])
	}
	return values, nil
}

// unchanged does something in a folder that is to look as if nothing had been done there.
func unchanged(dir string, do func() error) (err error) {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	before, err := readAttributes(f)
	if err != nil {
		return err
	}
	return errors.Join(do(), before.apply(f))
}
