package archive

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// tree is the destination of an extraction. It keeps to a trail of the folders that lead to the current entry, and lets go of each
// when it is left: with a walk's order that is once, and memory is bounded by the depth. A folder that is entered again later gets
// back the times that it had.
type tree struct {
	trail  trail    // as far as they have been made
	levels []*level // to the current entry, the root first
	report *reporter

	// settle waits until nothing is being put into any folder.
	settle func() error
}

const openFolder = unix.O_RDONLY | unix.O_DIRECTORY

func openTree(dir string, report *reporter) (*tree, error) {
	t := &tree{trail: trail{keep: openSteps}, report: report, settle: func() error { return nil }}
	root := &level{report: report}
	var err error
	if root.fd, err = openAt(unix.AT_FDCWD, dir, openFolder, 0); err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	err = root.keep()
	if err == nil {
		err = t.made(root)
	}
	if err != nil {
		closeFD(root.fd)
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	t.levels = append(t.levels, root)
	return t, nil
}

// made goes on to a folder that was made just now.
func (t *tree) made(f *level) error {
	st, err := stat(f.fd, "")
	if err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	if t.trail.full() { // somebody may be using what is closed now
		if err := t.settle(); err != nil {
			return err
		}
	}
	f.use()
	t.trail.push(f.name, f.fd, idOf(&st))
	return nil
}

// close leaves all folders.
func (t *tree) close() error {
	err := t.leave(0)
	t.trail.close()
	return err
}

// folder notes what the archive says of a folder, and makes it if it is to be restored.
func (t *tree) folder(m *member, taken bool) error {
	if err := t.enter(m.Path); err != nil {
		return err
	}
	top := t.levels[len(t.levels)-1]
	isMade := t.trail.depth() == len(t.levels)
	// A folder that is already there for what is below it is only changed when it was asked for.
	if taken || !isMade {
		pathless := *m
		pathless.Path = ""
		top.member, top.taken = &pathless, taken
	}
	if taken && isMade {
		return top.dropACLs()
	}
	if !taken {
		return nil
	}
	return t.make()
}

// folderOf gives the folder that a path is in, making it where needed. It is the current one until the next call.
func (t *tree) folderOf(name string) (*level, error) {
	if err := t.enter(path.Dir(name)); err != nil {
		return nil, err
	}
	if err := t.make(); err != nil {
		return nil, err
	}
	return t.levels[len(t.levels)-1], nil
}

// enter makes the levels those that lead to a folder, leaving the others.
func (t *tree) enter(name string) error {
	parts := components(name)
	same := t.same(parts)
	if err := t.leave(same + 1); err != nil {
		return err
	}
	for _, p := range parts[same:] {
		above := t.levels[len(t.levels)-1]
		t.levels = append(t.levels, &level{above: above, name: strings.Clone(p), report: t.report})
	}
	return nil
}

// components are the names that a folder's path is made of.
func components(name string) []string {
	if name == "." {
		return nil
	}
	return strings.Split(name, "/")
}

// same is how many of the components are those of the current levels.
func (t *tree) same(parts []string) int {
	n := 0
	for n < len(parts) && n+1 < len(t.levels) && t.levels[n+1].name == parts[n] {
		n++
	}
	return n
}

// leave lets go of all levels from the depth on, the deepest first.
func (t *tree) leave(depth int) error {
	var errs []error
	for i := len(t.levels) - 1; i >= depth; i-- {
		f := t.levels[i]
		if t.trail.depth() <= i {
			continue // not made
		}
		fd, err := t.trail.pop()
		if f.fd = fd; fd >= 0 {
			errs = append(errs, f.release())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("go back from folder %q: %w", f.name, err))
		} else if i > 0 {
			t.levels[i-1].fd = t.trail.top()
		}
	}
	t.levels = t.levels[:min(depth, len(t.levels))]
	return errors.Join(errs...)
}

// make makes all levels that are not there.
func (t *tree) make() error {
	for i := t.trail.depth(); i < len(t.levels); i++ {
		f := t.levels[i]
		if err := f.make(t.trail.top()); err != nil {
			return fmt.Errorf("folder %q: %w", f.name, err)
		}
		if err := t.made(f); err != nil {
			closeFD(f.fd)
			return fmt.Errorf("folder %q: %w", f.name, err)
		}
	}
	return nil
}

// replacing creates a node, in the place of what is there.
func replacing(n node, create func() error) error {
	err := retry(create)
	if err != unix.EEXIST {
		return err
	}
	if err := removeAll(n.dir, n.name); err != nil {
		return fmt.Errorf("replace what is there: %w", err)
	}
	return retry(create)
}

// open opens a folder of the tree that exists, without following any symlink on the way. The descriptor is the caller's.
func (t *tree) open(name string) (int, error) {
	parts := components(name)
	// The way begins where it parts from the current one.
	at := min(t.same(parts), t.trail.depth()-1)
	for t.trail.steps[at].fd < 0 {
		at--
	}
	fd, err := openAt(t.trail.steps[at].fd, ".", openFolder, 0)
	if err != nil {
		return -1, err
	}
	for _, part := range parts[at:] {
		next, err := openAt(fd, part, openFolder, 0)
		closeFD(fd)
		if err != nil {
			return -1, err
		}
		fd = next
	}
	return fd, nil
}
