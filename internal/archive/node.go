package archive

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// node is something that has just been restored under a name in an open folder, and is to get its attributes.
type node struct {
	dir  int
	name string // one component, or "." for the folder itself
	fd   int    // open, or -1 of what cannot be opened without harm

	inherits bool // it has got an ACL from the folder that it is in
}

// make makes a symlink, a device or a pipe.
func (n node) make(m *member) error {
	switch m.Kind {
	case Symlink:
		return unix.Symlinkat(m.Linkname, n.dir, n.name)
	case Fifo:
		return unix.Mknodat(n.dir, n.name, unix.S_IFIFO|0o600, 0)
	case CharDevice:
		return unix.Mknodat(n.dir, n.name, unix.S_IFCHR|0o600, int(unix.Mkdev(m.major, m.minor)))
	default:
		return unix.Mknodat(n.dir, n.name, unix.S_IFBLK|0o600, int(unix.Mkdev(m.major, m.minor)))
	}
}

// restore gives the node its owner, attributes, time and mode, in this order: setting the owner clears set-user-ID bits and capabilities,
// setting an ACL may clear the set-group-ID bit, and a mode that denies writing denies setting attributes too. Its data is
// there already, since writing drops capabilities. What there is no privilege for is skipped.
func (n node) restore(m *member, skip func(what string, why error)) error {
	mode := m.Mode
	if err := unix.Fchownat(n.dir, n.name, int(m.UID), int(m.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		// EINVAL is an id that the user namespace does not have.
		if !denied(err) && err != unix.EINVAL {
			return fmt.Errorf("set owner: %w", err)
		}
		skip(fmt.Sprintf("owner %d:%d", m.UID, m.GID), err)
		// What ran as its owner must not run as somebody else.
		mode &^= unix.S_ISUID | unix.S_ISGID
	}
	if n.inherits && m.Kind != Symlink {
		if err := withoutACL(n.removeXattr(aclAccess)); err != nil {
			return fmt.Errorf("remove attribute %q: %w", aclAccess, err)
		}
	}
	for _, x := range m.xattrs {
		err := n.setXattr(x)
		if denied(err) {
			skip(fmt.Sprintf("attribute %q", x.name), err)
		} else if err != nil {
			return fmt.Errorf("set attribute %q: %w", x.name, err)
		}
	}
	if err := n.setTime(m.ModTime); err != nil {
		return err
	}
	if m.Kind == Symlink { // which has no mode of its own
		return nil
	}
	if err := n.chmod(mode); err != nil {
		return fmt.Errorf("set mode: %w", err)
	}
	return nil
}

func (n node) chmod(mode uint32) error {
	if n.fd >= 0 {
		return unix.Fchmod(n.fd, mode)
	}
	err := unix.Fchmodat(n.dir, n.name, mode, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.EOPNOTSUPP { // before Linux 6.6; it is no symlink, having been made just now
		err = unix.Fchmodat(n.dir, n.name, mode, 0)
	}
	return err
}

func (n node) setXattr(x xattr) error {
	if n.fd >= 0 {
		return unix.Fsetxattr(n.fd, x.name, []byte(x.value), 0)
	}
	return unix.Lsetxattr(procPath(n.dir, n.name), x.name, []byte(x.value), 0)
}

func (n node) removeXattr(name string) error {
	if n.fd >= 0 {
		return unix.Fremovexattr(n.fd, name)
	}
	return unix.Lremovexattr(procPath(n.dir, n.name), name)
}

// setTime sets the modification time and leaves the access time, which the archive does not have.
func (n node) setTime(t time.Time) error {
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: t.Unix(), Nsec: int64(t.Nanosecond())}}
	if err := unix.UtimesNanoAt(n.dir, n.name, ts, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set time: %w", err)
	}
	return nil
}

// denied tells whether an error is for want of privilege, or because the file system does not have the like.
func denied(err error) bool {
	return err == unix.EPERM || err == unix.EACCES || err == unix.ENOTSUP
}
