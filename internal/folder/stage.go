package folder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/durable"
)

// Stage is a folder on the file system of another: what comes in lies there until it takes the place of what is there, which then
// lies there until it is removed.
type Stage struct {
	dir    string
	lock   *durable.Lock // for as long as it is in use
	volume string        // folder
	was    os.FileInfo   // of the volume's
	undo   []func() error
	keep   bool // it holds data that could not be put back where it was
}

// What a stage's folder is called tells whoever finds one what lies there: what can be had again, or, from the beginning of an exchange to
// its end, what may be the only copy of a volume's data.
const (
	spareName = ".backupd-restore-"
	onlyName  = ".backupd-exchange-"
)

// What is in a stage's folder.
const (
	lockName = "lock"
	ofName   = "of" // a symbolic link to the name of the volume's folder
)

// Stage extracts into a folder beside this one, where that may be; or inside, where what is beside is not known to be its owner's, or is on
// another file system. Removing the stage is left to the caller.
func (f Folder) Stage(ctx context.Context, from Source) (*Stage, archive.Report, error) {
	if err := f.sweep(); err != nil {
		return nil, archive.Report{}, err
	}
	s, err := newStage(f.path, f.beside)
	if err != nil {
		return nil, archive.Report{}, err
	}
	report, err := extract(ctx, from, s.incoming())
	if err != nil {
		return nil, archive.Report{}, errors.Join(err, s.Remove(ctx))
	}
	return s, report, nil
}

func newStage(volume string, mayBeBeside bool) (*Stage, error) {
	parent := volume
	if mayBeBeside && oneDevice(volume, filepath.Dir(volume)) {
		parent = filepath.Dir(volume)
	}
	was, err := os.Stat(volume)
	if err != nil {
		return nil, fmt.Errorf("look at the folder: %w", err)
	}
	s := &Stage{volume: volume, was: was}
	err = unseen(volume, parent, func() (err error) {
		s.dir, err = os.MkdirTemp(parent, spareName)
		return err
	})
	if err == nil {
		err = s.furnish()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a folder for what comes in: %w", err), s.remove())
	}
	return s, nil
}

func (s *Stage) furnish() (err error) {
	if s.lock, err = durable.TryLock(filepath.Join(s.dir, lockName)); err != nil {
		return err
	}
	for _, sub := range []string{s.incoming(), s.outgoing()} {
		err = errors.Join(err, os.Mkdir(sub, 0o700))
	}
	return errors.Join(err, os.Symlink(filepath.Base(s.volume), filepath.Join(s.dir, ofName)))
}

// Where tells the stage's own folder.
func (s *Stage) Where() string { return s.dir }

// Remove removes the stage with all that lies there.
func (s *Stage) Remove(context.Context) error { return s.remove() }

// oneDevice tells whether two folders are on one file system, so that files can be renamed between them.
func oneDevice(a, b string) bool {
	var in, beside unix.Stat_t
	return unix.Stat(a, &in) == nil && unix.Stat(b, &beside) == nil && in.Dev == beside.Dev
}

func (s *Stage) incoming() string { return filepath.Join(s.dir, "incoming") }
func (s *Stage) outgoing() string { return filepath.Join(s.dir, "outgoing") }

// remove removes as much of the stage as was made.
func (s *Stage) remove() (err error) {
	switch {
	case s.keep:
		err = fmt.Errorf("%s holds data that belongs into the volume: put it back by hand", s.dir)
	case s.dir != "":
		err = removeStage(s.volume, s.dir)
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Unlock())
	}
	return err
}

// removeStage leaves something to be found until all else is gone.
func removeStage(volume, dir string) error {
	return unseen(volume, filepath.Dir(dir), func() error {
		for _, name := range []string{"incoming", "outgoing"} {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		return os.RemoveAll(dir)
	})
}

// unseen does something with the stage in its parent, which is no change of the volume and is not to look like one.
func unseen(volume, parent string, do func() error) error {
	if parent != volume {
		return do()
	}
	root, err := readAttributes(volume)
	if err != nil {
		return errors.Join(err, do())
	}
	return errors.Join(do(), root.apply(volume))
}

// Exchange puts what came in into the place of what is there. When that fails, everything is put back as it was.
func (s *Stage) Exchange(context.Context) error {
	// What was mounted for its users alone went away with them: what shows now is the folder below.
	if now, err := os.Stat(s.volume); err != nil || !os.SameFile(s.was, now) {
		return errors.Join(fmt.Errorf("another folder shows at %s since its users have stopped: it is only mounted while they run", s.volume), err)
	}
	err := s.replace()
	if err == nil {
		return nil
	}
	for i := len(s.undo) - 1; i >= 0; i-- {
		if back := s.undo[i](); back != nil {
			s.keep = true
			err = errors.Join(err, fmt.Errorf("put back what was there: %w", back))
		}
	}
	if !s.keep {
		err = errors.Join(err, s.rename(spareName))
	}
	return err
}

// rename has the folder tell what lies in it.
func (s *Stage) rename(prefix string) error {
	random := s.dir[strings.LastIndexByte(s.dir, '-')+1:]
	to := filepath.Join(filepath.Dir(s.dir), prefix+random)
	err := unseen(s.volume, filepath.Dir(s.dir), func() error { return os.Rename(s.dir, to) })
	if err == nil {
		s.dir = to
	}
	return err
}

func (s *Stage) replace() error {
	before, err := readAttributes(s.volume)
	if err != nil {
		return fmt.Errorf("look at the volume's folder: %w", err)
	}
	after, err := readAttributes(s.incoming()) // before moving anything out of it changes its times
	if err != nil {
		return fmt.Errorf("look at what came in: %w", err)
	}
	s.undo = append(s.undo, func() error { return before.apply(s.volume) })
	if err := s.rename(onlyName); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := s.move(s.volume, s.outgoing()); err != nil {
		return fmt.Errorf("move the old data aside: %w", err)
	}
	if err := s.move(s.incoming(), s.volume); err != nil {
		return fmt.Errorf("move the restored data into place: %w", err)
	}
	if err := after.apply(s.volume); err != nil {
		return fmt.Errorf("give the volume's folder its owner and mode: %w", err)
	}
	if err := syncFileSystem(s.volume); err != nil {
		return err
	}
	return s.rename(spareName)
}

// move moves everything in a folder, but for the stage itself, and notes how to move it back.
func (s *Stage) move(from, to string) error {
	children, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, child := range children {
		a, b := filepath.Join(from, child.Name()), filepath.Join(to, child.Name())
		if a == s.dir {
			continue
		}
		if err := os.Rename(a, b); err != nil {
			return err
		}
		s.undo = append(s.undo, func() error { return os.Rename(b, a) })
	}
	return nil
}
