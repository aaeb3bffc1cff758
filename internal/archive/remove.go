package archive

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// removeAll removes what a name in an open folder is, and all that is in it, however deep: os.RemoveAll keeps a folder open for each level.
func removeAll(dir int, name string) error {
	err := unix.Unlinkat(dir, name, 0)
	if err != unix.EISDIR {
		return err
	}
	r := remover{trail: trail{keep: openSteps}, lister: lister{most: namesMemory}}
	defer r.lister.close()
	defer r.trail.close()
	if err := r.enter(dir, name); err != nil {
		return err
	}
	for r.trail.depth() > 0 {
		if err := r.next(dir); err != nil {
			return fmt.Errorf("remove %q: %w", name, err)
		}
	}
	return nil
}

type remover struct {
	trail  trail
	lister lister
	open   []*names // of each folder of the trail
}

func (r *remover) enter(dir int, name string) error {
	fd, err := openAt(dir, name, openFolder, 0)
	if err != nil {
		return err
	}
	st, err := stat(fd, "")
	if err != nil {
		closeFD(fd)
		return err
	}
	r.trail.push(name, fd, idOf(&st))
	r.open = append(r.open, new(names))
	return r.lister.read(fd, r.open[len(r.open)-1])
}

// next removes the next entry of the folder at hand, or enters it, or removes the folder after the last. dir is what the uppermost is in.
func (r *remover) next(dir int) error {
	last := len(r.open) - 1
	d, ok, err := r.open[last].next()
	if err != nil {
		return err
	}
	if !ok {
		return r.leave(dir)
	}
	err = unix.Unlinkat(r.trail.top(), d.name, 0)
	if err == unix.EISDIR {
		return r.enter(r.trail.top(), d.name)
	}
	if err == unix.ENOENT {
		return nil
	}
	return err
}

func (r *remover) leave(dir int) error {
	last := len(r.open) - 1
	r.open[last].close()
	r.open = r.open[:last]
	name := r.trail.steps[last].name
	fd, err := r.trail.pop()
	if fd >= 0 {
		closeFD(fd)
	}
	if err != nil {
		return err
	}
	if last > 0 {
		dir = r.trail.top()
	}
	return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
}
