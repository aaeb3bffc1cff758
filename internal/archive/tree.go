package archive

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tree is the destination of an extraction. It keeps the folders open that lead to the current entry, and gives each its attributes
// when it is left: with a walk's order that is once, and memory is bounded by the depth. A folder that is entered again later gets
// back the times that it had.
type tree struct {
	root   *os.Root // to remove whole folders, and for nothing else: see openAt
	levels []level
	report *Report
}

// level is an open folder.
type level struct {
	name   string
	fd     int       // -1 until it is needed
	taken  bool      // the folder itself is to be restored, not only made for what is below
	member *member   // what the archive says of it, if anything
	found  time.Time // modification time of a folder that was there before
}

const openFolder = unix.O_RDONLY | unix.O_DIRECTORY

func openTree(dir string, report *Report) (*tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	fd, err := openAt(unix.AT_FDCWD, dir, openFolder, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", dir, err), root.Close())
	}
	t := &tree{root: root, report: report, levels: []level{{name: ".", fd: fd}}}
	if err := t.levels[0].keepTime(); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", dir, err), t.close())
	}
	return t, nil
}

// close leaves all folders.
func (t *tree) close() error {
	return errors.Join(t.leave(0), t.root.Close())
}

// folder notes what the archive says of a folder, and makes it if it is to be restored.
func (t *tree) folder(m *member, taken bool) error {
	if err := t.enter(m.Path); err != nil {
		return err
	}
	top := &t.levels[len(t.levels)-1]
	// A folder that is already there for what is below it is only changed when it was asked for.
	if taken || top.fd < 0 {
		top.member, top.taken = m, taken
	}
	if !taken {
		return nil
	}
	return t.make()
}

// folderOf opens the folder that a path is in, making it where needed. The descriptor is the tree's.
func (t *tree) folderOf(name string) (int, error) {
	if err := t.enter(path.Dir(name)); err != nil {
		return -1, err
	}
	if err := t.make(); err != nil {
		return -1, err
	}
	return t.levels[len(t.levels)-1].fd, nil
}

// enter makes the levels those that lead to a folder, leaving the others.
func (t *tree) enter(folder string) error {
	var parts []string
	if folder != "." {
		parts = strings.Split(folder, "/")
	}
	same := 0
	for same < len(parts) && same+1 < len(t.levels) && t.levels[same+1].name == parts[same] {
		same++
	}
	if err := t.leave(same + 1); err != nil {
		return err
	}
	for _, p := range parts[same:] {
		t.levels = append(t.levels, level{name: p, fd: -1})
	}
	return nil
}

// leave finishes and closes all levels from the depth on, the deepest first.
func (t *tree) leave(depth int) error {
	var errs []error
	for i := len(t.levels) - 1; i >= depth; i-- {
		if l := t.levels[i]; l.fd >= 0 {
			errs = append(errs, l.finish(t.report))
			closeFD(l.fd)
		}
	}
	t.levels = t.levels[:min(depth, len(t.levels))]
	return errors.Join(errs...)
}

// make opens all levels, making folders that are not there.
func (t *tree) make() error {
	for i := range t.levels {
		if l := &t.levels[i]; l.fd < 0 {
			if err := l.make(t.levels[i-1].fd); err != nil {
				return fmt.Errorf("folder %q: %w", l.name, err)
			}
		}
	}
	return nil
}

func (l *level) make(parent int) error {
	mode := uint32(0o700) // nobody else's until it is finished
	if l.member == nil {
		mode = 0o755
	}
	err := unix.Mkdirat(parent, l.name, mode)
	existed := err == unix.EEXIST
	if err != nil && !existed {
		return err
	}
	l.fd, err = openAt(parent, l.name, openFolder, 0)
	if existed && l.taken && (err == unix.ENOTDIR || err == unix.ELOOP) {
		// The archive has a folder where there is something else, and the archive wins.
		if err = unix.Unlinkat(parent, l.name, 0); err != nil {
			return err
		}
		return l.make(parent)
	}
	if err != nil {
		l.fd = -1
		return err
	}
	if existed && !l.taken {
		l.member = nil
		return l.keepTime()
	}
	return nil
}

// keepTime notes the time of a folder that was there before, to put it back after things were put into it.
func (l *level) keepTime() error {
	st, err := stat(l.fd, "")
	if err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	l.found = time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec))
	return nil
}

// finish gives a folder its attributes.
func (l *level) finish(r *Report) error {
	n := node{dir: l.fd, name: ".", fd: l.fd}
	var err error
	switch {
	case l.member != nil:
		err = n.restore(l.member, r)
	case !l.found.IsZero():
		err = n.setTime(l.found)
	}
	if err != nil {
		return fmt.Errorf("folder %q: %w", l.name, err)
	}
	return nil
}

// replacing creates a node, in the place of what is there.
func (t *tree) replacing(name string, n node, create func() error) error {
	err := retry(create)
	if err != unix.EEXIST {
		return err
	}
	err = unix.Unlinkat(n.dir, n.name, 0)
	if err == unix.EISDIR {
		err = t.root.RemoveAll(name)
	}
	if err != nil {
		return fmt.Errorf("replace what is there: %w", err)
	}
	return retry(create)
}

// open opens a folder of the tree that exists, without following any symlink on the way. The descriptor is the caller's.
func (t *tree) open(folder string) (int, error) {
	fd, err := openAt(t.levels[0].fd, ".", openFolder, 0)
	if folder == "." || err != nil {
		return fd, err
	}
	for part := range strings.SplitSeq(folder, "/") {
		next, err := openAt(fd, part, openFolder, 0)
		closeFD(fd)
		if err != nil {
			return -1, err
		}
		fd = next
	}
	return fd, nil
}
