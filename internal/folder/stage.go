package folder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/archive"
)

// Stage is a folder on the file system of another: what comes in lies there until it takes the place of what is there, which then
// lies there until it is removed.
type Stage struct {
	dir    string
	volume string      // folder
	was    os.FileInfo // of the volume's
	undo   []func() error
	keep   bool // it holds data that could not be put back where it was
}

// stagePattern names the folder, and tells whoever finds it whose it is.
const stagePattern = ".backupd-restore-*"

// Stage extracts into a folder beside this one, where that may be; or inside, where what is beside is not known to be its owner's, or is on
// another file system. Removing the stage is left to the caller.
func (f Folder) Stage(ctx context.Context, from Source) (*Stage, archive.Report, error) {
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
	dir, err := os.MkdirTemp(parent, stagePattern)
	if err != nil {
		return nil, fmt.Errorf("make a folder for what comes in: %w", err)
	}
	s := &Stage{dir: dir, volume: volume, was: was}
	for _, sub := range []string{s.incoming(), s.outgoing()} {
		if err := os.Mkdir(sub, 0o700); err != nil {
			return nil, errors.Join(fmt.Errorf("make a folder for what comes in: %w", err), s.remove())
		}
	}
	return s, nil
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

func (s *Stage) remove() error {
	if s.keep {
		return errors.New("it holds data that belongs into the volume: put it back by hand")
	}
	if filepath.Dir(s.dir) != s.volume {
		return os.RemoveAll(s.dir)
	}
	// Removing it is no change of the volume, and must not look like one.
	root, err := readAttributes(s.volume)
	if err != nil {
		return errors.Join(err, os.RemoveAll(s.dir))
	}
	return errors.Join(os.RemoveAll(s.dir), root.apply(s.volume))
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
	if err := s.move(s.volume, s.outgoing()); err != nil {
		return fmt.Errorf("move the old data aside: %w", err)
	}
	if err := s.move(s.incoming(), s.volume); err != nil {
		return fmt.Errorf("move the restored data into place: %w", err)
	}
	if err := after.apply(s.volume); err != nil {
		return fmt.Errorf("give the volume's folder its owner and mode: %w", err)
	}
	return syncFileSystem(s.volume)
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
