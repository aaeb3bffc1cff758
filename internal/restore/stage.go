package restore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// stage is a folder on the file system of a volume: what comes in lies there until it takes the place of what is there, which then
// lies there until it is removed.
type stage struct {
	dir    string
	volume string // folder
	undo   []func() error
	keep   bool // it holds data that could not be put back where it was
}

// stagePattern names the folder, and tells whoever finds it whose it is.
const stagePattern = ".backupd-restore-*"

// newStage makes the folder beside the volume's own, where that may be; or inside, where what is beside is not known to be the
// volume's, or is on another file system.
func newStage(volume string, mayBeBeside bool) (*stage, error) {
	parent := volume
	if mayBeBeside && oneDevice(volume, filepath.Dir(volume)) {
		parent = filepath.Dir(volume)
	}
	dir, err := os.MkdirTemp(parent, stagePattern)
	if err != nil {
		return nil, fmt.Errorf("make a folder for what comes in: %w", err)
	}
	s := &stage{dir: dir, volume: volume}
	for _, sub := range []string{s.incoming(), s.outgoing()} {
		if err := os.Mkdir(sub, 0o700); err != nil {
			return nil, errors.Join(fmt.Errorf("make a folder for what comes in: %w", err), s.remove())
		}
	}
	return s, nil
}

// oneDevice tells whether two folders are on one file system, so that files can be renamed between them.
func oneDevice(a, b string) bool {
	var in, beside unix.Stat_t
	return unix.Stat(a, &in) == nil && unix.Stat(b, &beside) == nil && in.Dev == beside.Dev
}

func (s *stage) incoming() string { return filepath.Join(s.dir, "incoming") }
func (s *stage) outgoing() string { return filepath.Join(s.dir, "outgoing") }

func (s *stage) remove() error {
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

// exchange puts what came in into the place of what is there. When that fails, everything is put back as it was.
func (s *stage) exchange() error {
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

func (s *stage) replace() error {
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
func (s *stage) move(from, to string) error {
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
