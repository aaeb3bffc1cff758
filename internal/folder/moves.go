package folder

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// exchange is the two folders whose files are exchanged, and the one for the moment in between.
type exchange struct {
	volume *os.Root
	here   *os.File // the volume's folder
	there  spots    // of the stage
	aside  spots
	device uint64
}

func (s *Stage) open() (x *exchange, err error) {
	x = &exchange{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open the folders to exchange: %w", err), x.close())
		}
	}()
	if x.volume, err = os.OpenRoot(s.volume); err != nil {
		return x, err
	}
	if x.here, err = x.volume.Open("."); err != nil {
		return x, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(x.here.Fd()), &st); err != nil {
		return x, err
	}
	x.device = st.Dev
	if x.there, err = s.spots(contentName); err != nil {
		return x, err
	}
	x.aside, err = s.spots(asideName)
	return x, err
}

func (x *exchange) close() error {
	var errs []error
	if x.volume != nil {
		errs = append(errs, x.volume.Close())
	}
	if x.here != nil {
		errs = append(errs, x.here.Close())
	}
	x.there.close()
	x.aside.close()
	return errors.Join(errs...)
}

func (x *exchange) attributes() (here, there *attributes, err error) {
	a, err := readAttributes(x.here)
	if err != nil {
		return nil, nil, err
	}
	b, err := readAttributes(x.there.dir)
	return &a, &b, err
}

// apply gives the folders their attributes, once all is where it belongs.
func (x *exchange) apply(here, there *attributes) error {
	if here == nil || there == nil {
		return errors.New("the plan of an exchange does not say what the folders' attributes are")
	}
	if err := there.apply(x.there.dir); err != nil {
		return fmt.Errorf("give the stage's folder its owner and mode: %w", err)
	}
	if err := here.apply(x.here); err != nil {
		return fmt.Errorf("give the volume's folder its owner and mode: %w", err)
	}
	return nil
}

// sync makes it survive a power cut where everything lies.
func (x *exchange) sync() error {
	for _, dir := range []*os.File{x.here, x.there.dir, x.aside.dir} {
		if err := dir.Sync(); err != nil && !errors.Is(err, unix.EINVAL) { // what cannot sync folders says that
			return fmt.Errorf("write back %s: %w", dir.Name(), err)
		}
	}
	return nil
}

// arrange has one name be the files that it should be, here and there. Each pass makes one move, and looks again at what that came to.
func (x *exchange) arrange(p string, number int, here, there ident) (err error) {
	a, err := x.at(p)
	if err != nil {
		return err
	}
	defer a.close()
	b, err := x.there.at(p)
	if err != nil {
		return err
	}
	defer b.close()
	c, err := x.aside.at(strconv.Itoa(number))
	if err != nil {
		return err
	}
	defer c.close()
	const most = 4
	for range most {
		inA, errA := x.ident(a)
		inB, errB := x.ident(b)
		inC, errC := x.ident(c)
		if err := errors.Join(errA, errB, errC); err != nil {
			return err
		}
		none := ident{}
		switch {
		case inA == here && inB == there && inC == none:
			return nil
		case inA == there && inB == here && inA != none && inB != none:
			if err = swap(a, b); errors.Is(err, errors.ErrUnsupported) || errors.Is(err, unix.EINVAL) { // by the file system
				err = move(a, c)
			}
		case inA == there && inA != none && inB == none:
			err = move(a, b)
		case inA == none && inB == here && inB != none:
			err = move(b, a)
		case inB == none && inC == there && inC != none:
			err = move(c, b)
		case inA == none && inC == here && inC != none:
			err = move(c, a)
		default:
			return fmt.Errorf("%q is none of the files that are exchanged", p)
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("%q changes while it is exchanged", p)
}

func (x *exchange) ident(s spot) (ident, error) {
	var st unix.Stat_t
	err := unix.Fstatat(s.dir, s.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return ident{}, nil
	case err != nil:
		return ident{}, &os.PathError{Op: "stat", Path: s.name, Err: err}
	}
	return ident{Number: st.Ino, Other: st.Dev != x.device}, nil
}

// spot is where a file may be: a name in an open folder.
type spot struct {
	dir  int // -1 when there is no such folder
	name string
	own  *os.File // to be closed
}

func (s spot) close() {
	if s.own != nil {
		_ = s.own.Close() // it was only looked up in
	}
}

// at gives the place of a path in the volume.
func (x *exchange) at(p string) (spot, error) { return spotIn(x.volume, x.here, p) }

// spotIn looks up no link that leads out of the root.
func spotIn(root *os.Root, dir *os.File, p string) (spot, error) {
	parent, name := path.Split(p)
	if parent == "" {
		return spot{dir: int(dir.Fd()), name: name}, nil
	}
	f, err := root.Open(path.Clean(parent))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return spot{dir: -1, name: name}, nil
	}
	if err != nil {
		return spot{}, err
	}
	return spot{dir: int(f.Fd()), name: name, own: f}, nil
}

// spots is a folder in a stage.
type spots struct {
	root *os.Root
	dir  *os.File

	// Where nobody but us can write beside the volume's folder, all is reached by the name of the stage. So whoever gives the stage another
	// name has it to itself: an exchange that was thought dead, and wakes up, moves nothing any more.
	parent *os.File // nil elsewhere
	below  string
}

func (s *Stage) spots(name string) (to spots, err error) {
	defer func() {
		if err != nil {
			to.close()
			to = spots{}
		}
	}()
	parent := filepath.Dir(s.dir)
	outer, err := os.OpenRoot(parent)
	if err != nil {
		return to, err
	}
	defer outer.Close()
	if to.root, err = outer.OpenRoot(filepath.Join(filepath.Base(s.dir), name)); err != nil {
		return to, err
	}
	if to.dir, err = to.root.Open("."); err != nil || parent == s.volume {
		return to, err
	}
	to.below = filepath.Join(filepath.Base(s.dir), name)
	to.parent, err = outer.Open(".")
	return to, err
}

func (s spots) close() {
	if s.root != nil { // and nothing was written through any of them
		_ = s.root.Close()
	}
	_ = s.dir.Close()
	_ = s.parent.Close()
}

func (s spots) at(p string) (spot, error) {
	if s.parent != nil {
		return spot{dir: int(s.parent.Fd()), name: path.Join(s.below, p)}, nil
	}
	return spotIn(s.root, s.dir, p)
}

// swap exchanges two files in one step.
func swap(a, b spot) error {
	if err := unix.Renameat2(a.dir, a.name, b.dir, b.name, unix.RENAME_EXCHANGE); err != nil {
		return &os.LinkError{Op: "exchange", Old: a.name, New: b.name, Err: err}
	}
	return nil
}

// move moves a file to where none is.
func move(from, to spot) error {
	err := unix.Renameat2(from.dir, from.name, to.dir, to.name, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) { // the file system knows no flags; it has been looked at
		err = unix.Renameat(from.dir, from.name, to.dir, to.name)
	}
	if err != nil {
		return &os.LinkError{Op: "move", Old: from.name, New: to.name, Err: err}
	}
	return nil
}
