package archive

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// trail is the way from a root folder to the one at hand, as open folders. However long it is, only the root and the last few are
// open: the others are opened again on the way back, which is done by "..", so that paths may be longer than PATH_MAX and deeper than
// a process may have files open.
type trail struct {
	steps []step
	keep  int // how many to keep open besides the root; at least one
}

// step is a folder on a trail. The root has no name.
type step struct {
	name string
	fd   int // -1 while it is not open; the last step always is
	id   folderID
}

// folderID tells that a folder is the one that it was.
type folderID struct {
	device device
	inode  uint64
}

func idOf(st *unix.Statx_t) folderID {
	return folderID{device{st.Dev_major, st.Dev_minor}, st.Ino}
}

// openSteps is enough for almost all trees to stay open.
const openSteps = 64

// errMoved says that a folder is not to be found any more where it was.
var errMoved = errors.New("moved away meanwhile")

func (t *trail) depth() int { return len(t.steps) }

// full tells whether a further push closes a folder.
func (t *trail) full() bool { return len(t.steps) > t.keep }

// top is the descriptor of the folder at hand.
func (t *trail) top() int { return t.steps[len(t.steps)-1].fd }

// push goes on to a folder in the one at hand. The trail owns the descriptor until it is popped.
func (t *trail) push(name string, fd int, id folderID) {
	t.steps = append(t.steps, step{name, fd, id})
	if i := len(t.steps) - 1 - t.keep; i > 0 && t.steps[i].fd >= 0 {
		closeFD(t.steps[i].fd)
		t.steps[i].fd = -1
	}
}

// pop goes back, and gives the descriptor of the folder left to the caller, or -1 of one that was lost. After errMoved the folder that is at
// hand now is lost, and can only be popped.
func (t *trail) pop() (left int, err error) {
	last := len(t.steps) - 1
	left = t.steps[last].fd
	t.steps = t.steps[:last]
	if last == 0 || t.steps[last-1].fd >= 0 {
		return left, nil
	}
	t.steps[last-1].fd, err = t.reopen(left)
	return left, err
}

// reopen opens the last step again, which the folder below is in.
func (t *trail) reopen(below int) (int, error) {
	want := t.steps[len(t.steps)-1].id
	if below >= 0 {
		if fd, err := openSame(below, "..", want); err == nil {
			return fd, nil
		}
	}
	// The folder below was moved elsewhere, but this one may still be in its place.
	fd := t.steps[0].fd
	for i, s := range t.steps[1:] {
		next, err := openSame(fd, s.name, s.id)
		if i > 0 {
			closeFD(fd)
		}
		if err != nil {
			return -1, fmt.Errorf("open folder %q again: %w", s.name, errMoved)
		}
		fd = next
	}
	return fd, nil
}

// openSame opens a folder if it is the one that is wanted.
func openSame(dir int, name string, want folderID) (int, error) {
	fd, err := openAt(dir, name, openFolder, 0)
	if err != nil {
		return -1, err
	}
	st, err := stat(fd, "")
	if err == nil && idOf(&st) != want {
		err = errMoved
	}
	if err != nil {
		closeFD(fd)
		return -1, err
	}
	return fd, nil
}

// close closes what is open.
func (t *trail) close() {
	for _, s := range t.steps {
		if s.fd >= 0 {
			closeFD(s.fd)
		}
	}
	t.steps = nil
}
