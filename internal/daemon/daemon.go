// Package daemon keeps volumes backed up while nobody looks: it follows the engine, runs what is due, makes up once what was missed, tries
// again what failed, has targets filled that missed something and what is stored read back and tried out, and remembers all of it across
// restarts.
//
// It decides when; packages plan and backup decide what and how.
package daemon

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/schedule"
)

// Finder gives the volumes that are enrolled now.
type Finder interface {
	Volumes(ctx context.Context) ([]plan.Volume, error)
}

// Watcher tells what happens in an engine. An error is the last thing that it yields.
type Watcher interface {
	Events(ctx context.Context, since time.Time) iter.Seq2[engine.Event, error]
}

// Runner does one job, and lets go of everything when ctx ends.
type Runner interface {
	Run(ctx context.Context, job plan.Job) []backup.Result
}

// Options are what a Daemon works with. All are needed but the last three.
type Options struct {
	Finder   Finder
	Watcher  Watcher
	Runner   Runner
	Filler   Filler
	Verifier Verifier
	Ledger   *ledger.Ledger
	Host     string         // spreads the load of schedules with "H"
	Zone     *time.Location // that schedules without a zone of their own are in
	Parallel int            // jobs at once
	Now      func() time.Time
	Log      *slog.Logger

	AnyTarget bool          // a run that stored on one target is good, so that the others are not hurried
	Verify    schedule.Spec // when what is stored is read back; the zero one is never
	Driller   Driller       // nil where nothing can be started
}

// Daemon runs jobs when they are due.
type Daemon struct {
	Options
	wake chan struct{}
	jobs errgroup.Group

	scan scan // of the loop alone

	verifying, drilling atomic.Bool

	mu      sync.Mutex
	running map[string]bool // volumes
	slots   int             // jobs that may still be started
}

// New gives a Daemon.
func New(o Options) *Daemon {
	return &Daemon{Options: o, wake: make(chan struct{}, 1), running: map[string]bool{}, slots: o.Parallel}
}

// Run works until ctx ends, and then returns once every job has let go.
func (d *Daemon) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.watch(gctx) })
	g.Go(func() error {
		return schedule.Loop(gctx, d.Now, d.wake, func(now time.Time) time.Time { return d.step(gctx, now) })
	})
	err := g.Wait()
	d.jobs.Wait()
	if ctx.Err() != nil {
		return nil // this end was asked for
	}
	return err
}

// step looks at what there is and starts what is due. It tells when to look again, unless something happens before.
func (d *Daemon) step(ctx context.Context, now time.Time) time.Time {
	again := d.look(ctx, now)
	if d.scan.failures > 0 {
		return earliest(again, d.verify(ctx, now)) // what is due then is made up; to verify takes no engine
	}
	jobs, filling, next := d.due(now)
	for _, job := range jobs {
		if !d.start(ctx, job, now, d.run) {
			break // the end of a job wakes the loop
		}
	}
	for _, job := range filling {
		if !d.start(ctx, job, now, d.fill) {
			break
		}
	}
	for _, at := range []time.Time{next, d.verify(ctx, now), d.drill(ctx, now)} {
		again = earliest(again, at)
	}
	return again
}

// nudge makes the loop look again. One that is pending already is enough.
func (d *Daemon) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// earliest is the first of two moments, of which a zero one is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
