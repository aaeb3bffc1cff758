package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/durable"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/restore"
)

// exchanges is what is remembered of restores in place.
func (a *app) exchanges() restore.Exchanges {
	return restore.Exchanges{Dir: filepath.Join(a.cfg.StateDir, "exchanges")}
}

func (a *app) keeping(src source) restore.Keeping {
	k := restore.Keeping{Exchanges: a.exchanges(), Log: a.log}
	if src != nil {
		k.Engine, k.Access = src, a.opener(src)
	}
	return k
}

// settler is what puts volumes in order before their containers are let go.
func (a *app) settler(src source) func(ctx context.Context, volumes []string) error {
	return func(ctx context.Context, volumes []string) error {
		if err := a.openState(); err != nil {
			return err
		}
		return a.keeping(src).Settle(ctx, volumes)
	}
}

// settlePending puts in order what restores were exchanging that died. What uses such a volume is stopped meanwhile: an engine may have
// started it when the machine came up.
func (a *app) settlePending(ctx context.Context) error {
	all, err := a.exchanges().All()
	errs := []error{err}
	for _, e := range all {
		if e.Pending {
			errs = append(errs, a.unlessLocked(e.Volume, func() error { return a.settleHeld(ctx, e.Volume) }))
		}
	}
	return errors.Join(errs...)
}

// settleHeld holds what uses the volume. Letting it go settles.
func (a *app) settleHeld(ctx context.Context, volume string) error {
	src, err := a.source(ctx)
	if err != nil {
		return err
	}
	v, err := src.Volume(ctx, volume)
	if errors.Is(err, engine.ErrNotFound) {
		return a.exchanges().Forget(volume)
	}
	if err != nil {
		return err
	}
	k, err := a.ownKeeper(ctx)
	if err != nil {
		return err
	}
	hold, err := k.Hold(ctx, quiesce.Request{Volumes: []engine.Volume{v}, Readers: true})
	if err != nil {
		return fmt.Errorf("stop what uses volume %q, in which a restore was killed: %w", volume, err)
	}
	_, err = hold.Release(ctx)
	return err
}

// settleHere settles what it can without an engine.
func (a *app) settleHere(ctx context.Context) error {
	all, err := a.exchanges().All()
	errs := []error{err}
	for _, e := range all {
		errs = append(errs, a.unlessLocked(e.Volume, func() error {
			done, err := a.keeping(nil).SettleHere(ctx, e)
			if !done && err == nil {
				a.log.Warn("an exchange of a restore that was killed can only be brought to its end once the engine runs", "volume", e.Volume)
			}
			return err
		}))
	}
	return errors.Join(errs...)
}

// unlessLocked does something to a volume that nobody works on.
func (a *app) unlessLocked(volume string, do func() error) error {
	if err := a.openState(); err != nil {
		return err
	}
	release, err := a.locks.Try(volume)
	if errors.Is(err, durable.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(do(), release())
}

// dropReplaced removes what restores in place have replaced, where its time is over or a run has made a good snapshot since.
func (a *app) dropReplaced(ctx context.Context, src source, results []backup.Result) {
	all, err := a.exchanges().All()
	if err != nil {
		a.log.Warn("not all is known of what restores have replaced", "err", err)
	}
	for _, e := range all {
		before := a.now().Add(-a.cfg.Undo)
		for _, r := range results {
			if good := r.Volume == e.Volume && r.Stored() && r.Failure() == nil; good && r.Manifest.Taken.After(before) {
				before = r.Manifest.Taken
			}
		}
		if e.Pending || e.At.After(before) {
			continue
		}
		err := a.unlessLocked(e.Volume, func() error { return a.keeping(src).Drop(ctx, e, before) })
		if err != nil {
			a.log.Warn("what a restore has replaced could not be removed, and takes space", "volume", e.Volume, "err", err)
		}
	}
}

// tidying is a runner after whose runs there is something to tidy up.
type tidying struct {
	*backup.Runner
	tidy func(ctx context.Context, results []backup.Result)
}

func (t tidying) Run(ctx context.Context, job plan.Job) []backup.Result {
	results := t.Runner.Run(ctx, job)
	t.tidy(ctx, results)
	return results
}

// undoable says for how long what was replaced can be put back.
func (a *app) undoable(volume string) string {
	const day = 24 * time.Hour
	left := a.cfg.Undo.String()
	if a.cfg.Undo%day == 0 {
		left = fmt.Sprintf("%d days", a.cfg.Undo/day)
	}
	return fmt.Sprintf("what was there is kept until the volume's next backup, or for %s: \"backupd undo %s\" puts it back, and with --commit gives its space free", left, volume)
}
