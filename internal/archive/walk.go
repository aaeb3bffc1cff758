package archive

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// walker writes the tar of a folder. It keeps its way through the tree in a trail and not on the stack, and all that it remembers for
// later in structures that spill to disk, so that neither depth nor number of files costs memory.
type walker struct {
	exclude globs
	out     output
	sum     Summary

	root    unix.Statx_t
	links   *linkTable
	lister  lister
	headers headers

	trail trail
	open  []visit // one of each folder of the trail
	path  []byte  // of the folder at hand, empty for the root

	settles bool   // files, before they are read: see changed.go
	reuse   *reuse // what has not changed since an earlier archive; nil for nothing

	observer Observer // nil for none

	// note is called with each member that is in the tar, whole. May be nil.
	note func(*member) error

	// step is called before an entry is opened ("open") and before a file's data is read ("read"), in tests that change
	// things just then. May be nil.
	step func(what, path string)
}

// visit is a folder whose entries are being written.
type visit struct {
	names   *names
	pathLen int
}

// newWalker makes a walker that keeps what is too much for memory in a folder for scratch files; "" is the system's.
func newWalker(scratch string) *walker {
	return &walker{
		links:  newLinkTable(scratch, linksMemory),
		lister: lister{scratch: scratch, most: namesMemory},
		trail:  trail{keep: openSteps},
	}
}

// close closes all that the walker has open.
func (w *walker) close() {
	w.trail.close()
	w.lister.close()
	w.links.close()
}

// archive writes the whole tar of dir.
func (w *walker) archive(ctx context.Context, dir string) error {
	defer w.close()
	fd, err := openAt(unix.AT_FDCWD, dir, openFolder, 0)
	if err != nil {
		return fmt.Errorf("open the root: %w", err)
	}
	if w.root, err = stat(fd, ""); err != nil {
		closeFD(fd)
		return fmt.Errorf("stat the root: %w", err)
	}
	if err := w.enter(ctx, fd, &w.root, "", "."); err != nil {
		return err
	}
	for w.trail.depth() > 0 {
		if err := w.next(ctx); err != nil {
			return err
		}
	}
	return w.out.zeros(ctx, 2*tarBlock)
}

// next writes the next entry of the folder at hand, or leaves it after the last.
func (w *walker) next(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	d, ok, err := w.open[len(w.open)-1].names.next()
	if err != nil {
		return fmt.Errorf("folder %q: %w", w.path, err)
	}
	if !ok {
		return w.leave()
	}
	name := d.name
	if len(w.path) > 0 {
		name = string(w.path) + "/" + d.name
	}
	return w.entry(ctx, d, name)
}

// enter writes an open folder, which is the walker's to close, and makes it the one at hand. base is the last component of name.
func (w *walker) enter(ctx context.Context, fd int, st *unix.Statx_t, base, name string) error {
	w.trail.push(base, fd, idOf(st))
	if len(w.path) > 0 {
		w.path = append(w.path, '/')
	}
	w.path = append(w.path, base...)
	here := visit{new(names), len(w.path)}
	w.open = append(w.open, here)
	if err := w.folder(ctx, fd, st, name); err != nil {
		return err
	}
	if w.elsewhere(st) {
		w.sum.Mounts = append(w.sum.Mounts, name)
		return nil
	}
	if err := w.lister.read(fd, here.names); err != nil {
		return fmt.Errorf("read folder %q: %w", name, err)
	}
	return nil
}

// folder writes a folder itself.
func (w *walker) folder(ctx context.Context, fd int, st *unix.Statx_t, name string) error {
	if done, err := w.same(ctx, Folder, fd, st, name, ""); done || err != nil {
		return err
	}
	x, err := fileXattrs(fd)
	if err != nil {
		return fmt.Errorf("read %q: %w", name, err)
	}
	return w.header(ctx, newMember(name, Folder, st, x))
}

// leave goes back to the folder above. When that one has been moved elsewhere meanwhile, its remaining entries are out of reach.
func (w *walker) leave() error {
	last := len(w.open) - 1
	w.open[last].names.close()
	w.open = w.open[:last]
	left, err := w.trail.pop()
	if left >= 0 {
		closeFD(left)
	}
	if last == 0 {
		return err
	}
	above := w.open[last-1]
	w.path = w.path[:above.pathLen]
	if !errors.Is(err, errMoved) {
		return err
	}
	for {
		_, more, err := above.names.next()
		if !more || err != nil {
			return err
		}
		w.sum.Vanished++
	}
}

// header writes what goes before a member's data.
func (w *walker) header(ctx context.Context, m *member) error {
	h, err := w.headers.of(m)
	if err != nil {
		return fmt.Errorf("header of %q: %w", m.Path, err)
	}
	w.begin(m)
	if err := w.out.write(ctx, h); err != nil {
		return err
	}
	m.data = w.out.size()
	if m.Kind == File {
		return nil // its data are to come
	}
	return w.done(m)
}

// begin says that a member comes next.
func (w *walker) begin(m *member) {
	w.sum.Entries++
	m.head = w.observed(m)
	m.from = w.out.size()
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
	first, err := w.links.seen(inodeOf(st), name, st.Nlink)
	if err != nil || first == "" {
		return false, err
	}
	if done, err := w.same(ctx, Hardlink, -1, st, name, first); done || err != nil {
		return done, err
	}
	m := newMember(name, Hardlink, st, nil)
	m.Linkname = first
	return true, w.header(ctx, m)
}
