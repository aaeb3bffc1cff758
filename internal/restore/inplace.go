package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

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
		return Result{Left: err == nil}, err
	}
	stage, err := newStage(dir, v.Driver == engineDriver)
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
	if result.Held, err = r.swap(ctx, v, dir, stage); err == nil {
		result.Unhealthy = quiesce.AwaitHealth(ctx, r.Engine, result.Held.Checked, healthLimit)
	}
	return result, err
}

// healthLimit is how long containers may take to be healthy on what was restored: a database may have much to recover.
const healthLimit = 2 * time.Minute

// swap exchanges the content while every container that mounts the volume is stopped.
func (r *Runner) swap(ctx context.Context, v engine.Volume, dir string, s *stage) (report quiesce.Report, err error) {
	before, err := os.Stat(dir)
	if err != nil {
		return quiesce.Report{}, fmt.Errorf("look at the volume's folder: %w", err)
	}
	hold, err := r.Keeper.Hold(ctx, quiesce.Request{Volumes: []engine.Volume{v}, Readers: true})
	if err != nil {
		return quiesce.Report{}, fmt.Errorf("stop what uses volume %q: %w", v.Name, err)
	}
	defer func() {
		var unheld error
		if report, unheld = hold.Release(ctx); unheld != nil && err == nil {
			unheld = fmt.Errorf("volume %q was restored, and then: %w", v.Name, unheld)
		}
		err = errors.Join(err, unheld)
	}()
	// A volume that the engine mounts only for its containers went away with them: what shows now is the folder below.
	if after, err := os.Stat(dir); err != nil || !os.SameFile(before, after) {
		return report, errors.Join(fmt.Errorf("volume %q is only mounted while its containers run, so it cannot be replaced in place yet", v.Name), err)
	}
	select {
	case <-hold.Lost():
		return report, fmt.Errorf("volume %q is in use again, though everything that uses it was stopped: it was left as it was", v.Name)
	default:
		return report, s.exchange()
	}
}

// engineDriver is the driver of volumes whose folder is all that the engine keeps in the folder above it.
const engineDriver = "local"

func isEmpty(dir string) (bool, error) {
	children, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	return len(children) == 0, nil
}
