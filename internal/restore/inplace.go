package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/backupd/backupd/internal/access"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/quiesce"
)

// After says what is to become of what a restore in place has replaced.
type After struct {
	Commit          bool // it is removed at once, unless something is not well
	UndoIfUnhealthy bool // it is put back when what uses the volume is not well on what was restored
}

// ErrUnhealthy marks a restore that was taken back, as what uses the volume was not well on it.
var ErrUnhealthy = errors.New("what uses the volume is not well on what was restored")

// ErrNothingKept marks an undoing for which there is nothing.
var ErrNothingKept = errors.New("nothing is kept that could be put back")

// InPlace replaces the content of a volume, or puts a part of a snapshot into it. Everything is fetched and checked beside the live data first;
// then the containers that mount the volume are stopped, the content is exchanged by renaming, and they are started again. What was there
// stays beside it, for Undo. When this process is killed, whoever lets the containers go (Keeping.Settle) brings the exchange to its end before.
func (r *Runner) InPlace(ctx context.Context, req Request, v engine.Volume, then After) (result Result, err error) {
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
		return Result{}, named(req, err)
	}
	defer r.close(ctx, stage)
	result, err = r.exchange(ctx, v, f, stage)
	if result.Report = report; err != nil {
		return result, err
	}
	if len(result.Unhealthy) > 0 && then.UndoIfUnhealthy {
		return r.takeBack(ctx, v, f, stage, result)
	}
	if then.Commit && len(result.Unhealthy) == 0 {
		if result.Kept = ""; stage.Discard(ctx) != nil { // as closing it will tell
			result.Kept = stage.Where()
		}
	}
	return result, nil
}

// close has nothing left of a stage that is of no use any more.
func (r *Runner) close(ctx context.Context, s access.Stage) {
	if err := s.Close(context.WithoutCancel(ctx)); err != nil {
		r.Log.Warn("what a restore has left could not be removed, and takes space", "folder", s.Where(), "err", err)
	}
}

// takeBack is the end of a restore on which something is not well.
func (r *Runner) takeBack(ctx context.Context, v engine.Volume, f access.Folder, stage access.Stage, bad Result) (Result, error) {
	err := fmt.Errorf("%w: %q", ErrUnhealthy, bad.Unhealthy)
	result, failed := r.exchange(ctx, v, f, stage)
	result.Report, result.Undone = bad.Report, failed == nil
	return result, errors.Join(err, failed)
}

// Undo puts back what the last restore of a volume in place replaced; or with again, what the last Undo did.
func (r *Runner) Undo(ctx context.Context, v engine.Volume, again bool) (result Result, err error) {
	if err := r.kept(ctx, v); err != nil {
		return Result{}, err
	}
	f, err := r.Access.Writer(ctx, v)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	stage, err := f.Replaced(ctx, again)
	if errors.Is(err, fs.ErrNotExist) {
		return Result{}, fmt.Errorf("volume %q: %w: what a restore in place replaces goes with the next backup, with time (BACKUPD_UNDO), and with --commit", v.Name, ErrNothingKept)
	}
	if err != nil {
		return Result{}, fmt.Errorf("volume %q: %w", v.Name, err)
	}
	defer r.close(ctx, stage)
	return r.exchange(ctx, v, f, stage)
}

// exchange exchanges the content while all containers that mount the volume are stopped, and waits until they are well.
func (r *Runner) exchange(ctx context.Context, v engine.Volume, f access.Folder, stage access.Stage) (result Result, err error) {
	if result.Held, err = r.swap(ctx, v, f, stage); err != nil {
		return result, err
	}
	result.Kept = stage.Where()
	result.Unhealthy = quiesce.AwaitHealth(ctx, r.Engine, result.Held.Checked, healthLimit)
	return result, nil
}

// healthLimit is how long containers may take to be healthy on what was restored: a database may have much to recover.
const healthLimit = 2 * time.Minute

// swap exchanges the content while every container that mounts the volume is stopped. Letting them go settles what it could not.
func (r *Runner) swap(ctx context.Context, v engine.Volume, f access.Folder, s access.Stage) (report quiesce.Report, err error) {
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
	}
	note := Exchange{Volume: v.Name, Folder: f.Path(), Pending: true, At: r.Now()}
	if err := r.Exchanges.Remember(note); err != nil {
		return report, err
	}
	if err := s.Exchange(ctx); err != nil { // what is still pending is settled before anything runs
		return report, fmt.Errorf("exchange the content of volume %q: %w", v.Name, err)
	}
	note.Pending = false
	return report, r.Exchanges.Remember(note)
}
