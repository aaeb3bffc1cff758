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

// Stage is a folder on the file system of another, whose content can take the place of what that other holds, which then lies in the stage.
// What becomes of that is for the stage's user to say.
type Stage struct {
	volume string        // folder
	was    os.FileInfo   // of the volume's
	dir    string        // the stage's own
	lock   *durable.Lock // while something comes in
	hasty  bool          // nobody needs it to survive a power cut: nothing is waited for to be on disk
}

// kind is what lies in a stage's folder, and the beginning of the folder's name.
type kind string

const (
	arriving  kind = ".backupd-restore-"  // what came in, or some of it: it can be had again
	exchanged kind = ".backupd-exchange-" // some of both, in the middle of an exchange
	replaced  kind = ".backupd-replaced-" // what was there before a restore
	undone    kind = ".backupd-undone-"   // what a restore had put there, and all that was done to it since
)

var kinds = []kind{arriving, exchanged, replaced, undone}

// kindOf tells what a folder's name says of it; "" is that it is no stage's.
func kindOf(name string) kind {
	for _, k := range kinds {
		if strings.HasPrefix(name, string(k)) {
			return k
		}
	}
	return ""
}

// notContent gives globs of what may lie in a volume's folder and is none of its content.
func notContent() (globs []string) {
	for _, k := range kinds {
		globs = append(globs, string(k)+"*")
	}
	return globs
}

// What is in a stage's folder.
const (
	lockName    = "lock"    // held by who extracts
	ofName      = "of"      // a symbolic link to the name of the volume's folder
	contentName = "content" // what can take the place of the volume's
	asideName   = "aside"   // for the moment that it takes to exchange two files
	planName    = "plan"
	backName    = "back" // there when an exchange is being taken back
)

// Stage extracts into a folder beside this one, where that may be; or inside, where what is beside is not known to be its owner's, or is on
// another file system. All of it is on disk then. Closing the stage is left to the caller.
func (f Folder) Stage(ctx context.Context, from Source) (*Stage, archive.Report, error) {
	return f.stage(ctx, from, false)
}

func (f Folder) stage(ctx context.Context, from Source, hasty bool) (*Stage, archive.Report, error) {
	if err := f.sweep(); err != nil {
		return nil, archive.Report{}, err
	}
	s, err := f.newStage()
	if err != nil {
		return nil, archive.Report{}, err
	}
	s.hasty = hasty
	report, err := f.extract(ctx, from, s.content())
	if err == nil {
		err = s.prepare(from.Part())
	}
	if err != nil {
		return nil, archive.Report{}, errors.Join(err, s.Close(ctx))
	}
	return s, report, nil
}

func (f Folder) newStage() (*Stage, error) {
	parent := f.path
	if f.beside && oneDevice(f.path, filepath.Dir(f.path)) {
		parent = filepath.Dir(f.path)
	}
	s, err := f.stageAt("")
	if err != nil {
		return nil, err
	}
	err = s.unseen(parent, func() (err error) {
		s.dir, err = os.MkdirTemp(parent, string(arriving))
		return err
	})
	if err == nil {
		err = s.furnish()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a folder for what comes in: %w", err), s.Close(context.Background()))
	}
	return s, nil
}

// stageAt gives the stage that has a folder already.
func (f Folder) stageAt(dir string) (*Stage, error) {
	was, err := os.Stat(f.path)
	if err != nil {
		return nil, fmt.Errorf("look at the folder: %w", err)
	}
	return &Stage{volume: f.path, was: was, dir: dir}, nil
}

func (s *Stage) furnish() (err error) {
	if s.lock, err = durable.TryLock(filepath.Join(s.dir, lockName)); err != nil {
		return err
	}
	for _, sub := range []string{contentName, asideName} {
		err = errors.Join(err, os.Mkdir(filepath.Join(s.dir, sub), 0o700))
	}
	return errors.Join(err, os.Symlink(filepath.Base(s.volume), filepath.Join(s.dir, ofName)))
}

// prepare writes back what came in, for which nobody is to wait later, and notes what of the volume it is to replace.
func (s *Stage) prepare(part bool) error {
	if !s.hasty {
		if err := durable.SyncFileSystem(s.dir); err != nil {
			return err
		}
	}
	return s.writePlan(plan{Part: part, Then: replaced, Else: arriving}, nil)
}

// Where tells the stage's own folder.
func (s *Stage) Where() string { return s.dir }

// Close ends the use of the stage. What came in and did not get into the volume goes; all else stays, for Replaced to find.
func (s *Stage) Close(context.Context) (err error) {
	if s.dir != "" && kindOf(filepath.Base(s.dir)) == arriving {
		err = s.remove()
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Unlock())
		s.lock = nil
	}
	return err
}

// Discard removes all that lies there, unless that is what belongs into the volume.
func (s *Stage) Discard(context.Context) error {
	if k := kindOf(filepath.Base(s.dir)); k == exchanged {
		return fmt.Errorf("%s holds data that belongs into the volume", s.dir)
	} else if k != arriving { // from now on there may be only a part of it
		if err := s.become(arriving); err != nil {
			return err
		}
	}
	return s.remove()
}

// oneDevice tells whether two folders are on one file system, so that files can be renamed between them.
func oneDevice(a, b string) bool {
	var in, beside unix.Stat_t
	return unix.Stat(a, &in) == nil && unix.Stat(b, &beside) == nil && in.Dev == beside.Dev
}

func (s *Stage) content() string { return filepath.Join(s.dir, contentName) }

// remove removes as much of the stage as was made, and leaves something to be found until all else is gone.
func (s *Stage) remove() error {
	return s.unseen(filepath.Dir(s.dir), func() error {
		if err := os.RemoveAll(s.content()); err != nil {
			return err
		}
		return os.RemoveAll(s.dir)
	})
}

// become has the folder tell what lies in it, for good.
func (s *Stage) become(k kind) error {
	parent, random := filepath.Dir(s.dir), s.dir[strings.LastIndexByte(s.dir, '-')+1:]
	to := filepath.Join(parent, string(k)+random)
	err := s.unseen(parent, func() error { return os.Rename(s.dir, to) })
	if err != nil {
		return err
	}
	s.dir = to
	return s.sync(parent)
}

// sync makes the names in a folder survive a power cut, if that is wanted.
func (s *Stage) sync(dir string) error {
	if s.hasty {
		return nil
	}
	return durable.SyncDir(dir)
}

// unseen does something with the stage in its parent, which is no change of the volume and is not to look like one.
func (s *Stage) unseen(parent string, do func() error) error {
	if parent != s.volume {
		return do()
	}
	return unchanged(s.volume, do)
}
