package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/backupd/backupd/internal/access"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/quiesce"
)

// InPlace replaces the content of a volume. Everything is fetched and checked beside the live data first; then the containers that
// mount the volume are stopped, the content is exchanged by renaming, and they are started again.
func (r *Runner) InPlace(ctx context.Context, req Request, v engine.Volume) (result Result, err error) {
	if len(req.Paths) > 0 {
		return Result{}, errors.New("part of a snapshot cannot be restored in place: restore it with --to-dir and copy what is needed")
	}
	if err := r.kept(ctx, v); err != nil {
		return Result{}, err
	}
	f, err := r.Access.Writer(ctx, v)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if empty, err := f.Empty(ctx); err != nil || req.IfEmpty && !empty {
		return Result{Left: err == nil}, err
	}
	stage, report, err := f.Stage(ctx, r.delivery(req))
	if err != nil {
		return Result{}, err
	}
	result.Report = report
	defer func() {
		if left := stage.Remove(context.WithoutCancel(ctx)); left != nil {
			r.Log.Warn("data that was replaced could not be removed", "folder", stage.Where(), "err", left)
			result.Old = stage.Where()
		}
	}()
	if result.Held, err = r.swap(ctx, v, stage); err == nil {
		result.Unhealthy = quiesce.AwaitHealth(ctx, r.Engine, result.Held.Checked, healthLimit)
	}
	return result, err
}

// healthLimit is how long containers may take to be healthy on what was restored: a database may have much to recover.
const healthLimit = 2 * time.Minute

// swap exchanges the content while every container that mounts the volume is stopped.
func (r *Runner) swap(ctx context.Context, v engine.Volume, s access.Stage) (report quiesce.Report, err error) {
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
	select {
	case <-hold.Lost():
		return report, fmt.Errorf("volume %q is in use again, though everything that uses it was stopped: it was left as it was", v.Name)
	default:
		return report, s.Exchange(ctx)
	}
}
