package folder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/backupd/backupd/internal/durable"
)

// ErrUnsettled marks an exchange that came to no end: the volume may hold some of both. Settle is to be tried again once the reason is
// mended, and nothing should use the volume before.
var ErrUnsettled = errors.New("the volume's content is neither wholly old nor wholly new")

// Exchange puts what is in the stage into the place of what is in the volume, by renaming, and the other way around. Nobody may use the volume
// meanwhile. When it fails, all is as it was, unless the error is ErrUnsettled. Whoever is killed at it leaves the stage for Settle.
//
// It goes by a plan that is on disk before anything is moved: which name is which file, here and there. So what has been done of it can be
// seen at any moment, and it can be gone on with, or taken back, by anybody.
func (s *Stage) Exchange(context.Context) error {
	// What was mounted for its users alone went away with them: what shows now is the folder below.
	if now, err := os.Stat(s.volume); err != nil || !os.SameFile(s.was, now) {
		return errors.Join(fmt.Errorf("another folder shows at %s since its users have stopped: it is only mounted while they run", s.volume), err)
	}
	if err := s.plan(); err != nil {
		return err
	}
	if err := s.become(exchanged); err != nil {
		return fmt.Errorf("begin the exchange: %w", err)
	}
	_, err := s.finish()
	return err
}

// plan writes down what is to be exchanged, as things are now.
func (s *Stage) plan() (err error) {
	p, before, err := readPlan(s.dir)
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(s.dir, backName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("plan the exchange: %w", err)
	}
	x, err := s.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.close()) }()
	var entries iter.Seq2[entry, error]
	switch k := kindOf(filepath.Base(s.dir)); {
	case k != arriving: // what once was exchanged is exchanged again
		p.Else, p.Then = k, other(k)
		if entries = x.all(); p.Part {
			entries = x.again(before)
		}
	case p.Part:
		entries = x.merged()
	default:
		entries = x.all()
	}
	if !p.Part {
		if p.Here, p.There, err = x.attributes(); err != nil {
			return fmt.Errorf("plan the exchange: %w", err)
		}
	}
	return s.writePlan(p, entries)
}

// other is what a stage holds after an exchange with what it holds before.
func other(k kind) kind {
	if k == replaced {
		return undone
	}
	return replaced
}

// finish brings an exchange to its end, and tells whether that is the one that was meant: when that one cannot be had, all is put back.
func (s *Stage) finish() (done bool, err error) {
	p, entries, err := readPlan(s.dir)
	if err != nil {
		return false, s.unsettled(err)
	}
	if !s.turned() {
		if err = s.arrange(p, entries, false); err == nil {
			err = s.become(p.Then)
		}
		if err == nil {
			return true, nil
		}
	}
	back := s.turn()
	if back == nil {
		back = s.arrange(p, entries, true)
	}
	if back == nil {
		back = s.become(p.Else)
	}
	if back != nil {
		return false, s.unsettled(errors.Join(err, fmt.Errorf("put back what was there: %w", back)))
	}
	return false, err
}

// unsettled is the error of an exchange that came to no end here.
func (s *Stage) unsettled(err error) error {
	if _, gone := os.Lstat(s.dir); errors.Is(gone, fs.ErrNotExist) {
		return fmt.Errorf("%w, unless another process, which took over, has put it in order: %w", ErrUnsettled, err)
	}
	return fmt.Errorf("%w, and what is not there is in %s: %w", ErrUnsettled, s.dir, err)
}

func (s *Stage) turned() bool {
	_, err := os.Lstat(filepath.Join(s.dir, backName))
	return err == nil
}

// turn notes that the exchange is taken back. From then on it is. What stands there already is nothing to write to: in a stage inside the volume
// it may be a link of somebody's making.
func (s *Stage) turn() error {
	f, err := os.OpenFile(filepath.Join(s.dir, backName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = f.Close()
	}
	return errors.Join(err, s.sync(s.dir))
}

// arrange has each entry lie where it belongs, whatever was done of that before.
func (s *Stage) arrange(p plan, entries iter.Seq2[entry, error], back bool) (err error) {
	x, err := s.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.close()) }()
	number := 0
	for e, err := range entries {
		here, there := e.There, e.Here
		if back {
			here, there = e.Here, e.There
		}
		if err == nil {
			err = x.arrange(string(e.Path), number, here, there)
		}
		if err != nil {
			return err
		}
		number++
	}
	if !p.Part {
		here, there := p.There, p.Here
		if back {
			here, there = p.Here, p.There
		}
		if err := x.apply(here, there); err != nil {
			return err
		}
	}
	switch {
	case s.hasty:
		return nil
	case p.Part: // in any of its folders
		return durable.SyncFileSystem(s.volume)
	}
	return x.sync()
}
