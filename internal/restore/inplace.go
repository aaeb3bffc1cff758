package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/quiesce"
)

// InPlace replaces the content of a volume. Everything is fetched and checked beside the live data first; then the containers that
// mount the volume are stopped, the content is exchanged by renaming, and they are started again.
func (r *Runner) InPlace(ctx context.Context, req Request, v engine.Volume) (result Result, err error) {
	if len(req.Paths) > 0 {
		return Result{}, errors.New("part of a snapshot cannot be restored in place: restore it with --to-dir and copy what is needed")
	}
	dir, err := r.Access.Path(ctx, v)
	if err != nil {
		return Result{}, err
	}
	if empty, err := isEmpty(dir); err != nil || req.IfEmpty && !empty {
		return Result{Left: true}, err
	}
	stage, err := newStage(dir)
	if err != nil {
		return Result{}, err
	}
	defer func() {
		if left := stage.remove(); left != nil {
			r.Log.Warn("data that was replaced could not be removed", "folder", stage.dir, "err", left)
			result.Old = stage.dir
		}
	}()
	if result.Report, err = r.extract(ctx, req, stage.incoming()); err != nil {
		return Result{}, err
	}
	hold, err := r.Keeper.Hold(ctx, quiesce.Request{Volumes: []engine.Volume{v}, Readers: true})
	if err != nil {
		return Result{}, err
	}
	exchanged := stage.exchange(dir)
	report, err := hold.Release(ctx)
	result.Held = report
	return result, errors.Join(exchanged, err)
}

func isEmpty(dir string) (bool, error) {
	children, err := os.ReadDir(dir)
	if err != nil {
		return false, fmt.Errorf("restore to %s: %w", dir, err)
	}
	return len(children) == 0, nil
}

// stage is a folder on the file system of a volume: what comes in lies there until it takes the place of what is there, which then
// lies there until it is removed.
type stage struct {
	dir  string
	keep bool // it holds data that could not be put back where it was
}

// stagePattern names the folder, and tells whoever finds it whose it is.
const stagePattern = ".backupd-restore-*"

// newStage makes the folder beside the volume's own, where the engine keeps nothing else; or inside, where what is beside is
// not known to be the volume's.
func newStage(volume string) (*stage, error) {
	parent := volume
	if filepath.Base(volume) == "_data" {
		parent = filepath.Dir(volume)
	}
	dir, err := os.MkdirTemp(parent, stagePattern)
	if err != nil {
		return nil, fmt.Errorf("make a folder for what comes in: %w", err)
	}
	s := &stage{dir: dir}
	for _, sub := range []string{s.incoming(), s.outgoing()} {
		if err := os.Mkdir(sub, 0o700); err != nil {
			return nil, errors.Join(fmt.Errorf("make a folder for what comes in: %w", err), s.remove())
		}
	}
	return s, nil
}

func (s *stage) incoming() string { return filepath.Join(s.dir, "incoming") }
func (s *stage) outgoing() string { return filepath.Join(s.dir, "outgoing") }

func (s *stage) remove() error {
	if s.keep {
		return errors.New("it holds data that belongs into the volume: put it back by hand")
	}
	return os.RemoveAll(s.dir)
}

// exchange puts what came in into the place of what is there. When that fails, everything is put back as it was.
func (s *stage) exchange(volume string) (err error) {
	var undo []func() error
	defer func() {
		for i := len(undo) - 1; err != nil && i >= 0; i-- {
			if back := undo[i](); back != nil {
				s.keep = true
				err = errors.Join(err, fmt.Errorf("put back what was there: %w", back))
			}
		}
	}()
	move := func(from, to string) error {
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
			undo = append(undo, func() error { return os.Rename(b, a) })
		}
		return nil
	}
	if err := move(volume, s.outgoing()); err != nil {
		return fmt.Errorf("move the old data aside: %w", err)
	}
	if err := move(s.incoming(), volume); err != nil {
		return fmt.Errorf("move the restored data into place: %w", err)
	}
	if err := copyAttributes(s.incoming(), volume); err != nil {
		return fmt.Errorf("give the volume's folder its owner and mode: %w", err)
	}
	return syncFileSystem(volume)
}
