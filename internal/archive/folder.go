package archive

import (
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// level is a folder of an extraction's destination, on the way to the current entry or not yet finished.
//
// It gets its attributes last: putting something into it moves its time, and its mode may deny that. So it counts who uses it, and
// the last one to let go finishes it.
type level struct {
	above  *level // nil of the root
	name   string
	report *reporter

	taken    bool      // the folder itself is to be restored, not only made for what is below
	member   *member   // what the archive says of it, if anything; without its path, of which there may be thousands
	found    time.Time // modification time of a folder that was there before
	inherits bool      // what is made in it gets an ACL from it

	fd    int // valid while anybody uses it
	users atomic.Int32
}

// path is where the folder is in the archive.
func (f *level) path() string {
	var names []byte
	for ; f.above != nil; f = f.above {
		names = append([]byte("/"+f.name), names...)
	}
	if len(names) == 0 {
		return "."
	}
	return string(names[1:])
}

// make makes the folder in the one above, unless it is there.
func (f *level) make(parent int) error {
	mode := uint32(0o700) // nobody else's until it is finished
	if f.member == nil {
		mode = 0o755
	}
	err := unix.Mkdirat(parent, f.name, mode)
	existed := err == unix.EEXIST
	if err != nil && !existed {
		return err
	}
	f.fd, err = openAt(parent, f.name, openFolder, 0)
	if existed && f.taken && (err == unix.ENOTDIR || err == unix.ELOOP) {
		// The archive has a folder where there is something else, and the archive wins.
		if err = unix.Unlinkat(parent, f.name, 0); err != nil {
			return err
		}
		return f.make(parent)
	}
	if err != nil {
		return err
	}
	if existed && !f.taken {
		f.member = nil
		err = f.keep()
	} else if existed || f.above.inherits {
		err = f.dropACLs()
	}
	if err != nil {
		closeFD(f.fd)
	}
	return err
}

// keep notes of a folder that was there before what is to stay, or to be put back after things were put into it.
func (f *level) keep() error {
	st, err := stat(f.fd, "")
	if err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	f.found = time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec))
	size, err := unix.Fgetxattr(f.fd, aclDefault, nil)
	f.inherits = err == nil && size > 0
	return nil
}

// dropACLs takes away the ACLs that a folder has from before or from the folder above, so that it and what is put into it only get
// those of the archive.
func (f *level) dropACLs() error {
	f.inherits = false
	for _, name := range []string{aclDefault, aclAccess} {
		if err := withoutACL(unix.Fremovexattr(f.fd, name)); err != nil {
			return fmt.Errorf("remove attribute %q: %w", name, err)
		}
	}
	return nil
}

// withoutACL is the error of removing an ACL, if it may still be there and could be removed.
func withoutACL(err error) error {
	if err == unix.ENODATA || denied(err) {
		return nil
	}
	return err
}

// use says that somebody is going to put something into the folder.
func (f *level) use() { f.users.Add(1) }

// release says that somebody is done with it.
func (f *level) release() error {
	if f.users.Add(-1) > 0 {
		return nil
	}
	defer closeFD(f.fd)
	return f.finish()
}

// finish gives the folder its attributes.
func (f *level) finish() error {
	n := node{dir: f.fd, name: ".", fd: f.fd}
	var err error
	switch {
	case f.member != nil:
		err = n.restore(f.member, func(what string, why error) { f.report.skip(f.path(), what, why) })
	case !f.found.IsZero():
		err = n.setTime(f.found)
	}
	if err != nil {
		return fmt.Errorf("folder %q: %w", f.path(), err)
	}
	return nil
}
