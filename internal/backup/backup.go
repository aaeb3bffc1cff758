// Package backup is one job from hold to prune: it makes the containers of some volumes hold still, reads each volume once into an
// archive that goes to every target, lets the containers go as soon as reading is done, commits the snapshots, and applies retention.
//
// Which volumes are due together is package plan's to say, when is the daemon's.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/backupd/backupd/internal/access"
	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/seal"
	"github.com/backupd/backupd/internal/snapshot"
)

// Opener opens volumes for reading.
type Opener interface {
	Reader(ctx context.Context, v engine.Volume) (access.Folder, error)
}

// Keeper makes containers hold still.
type Keeper interface {
	Hold(ctx context.Context, req quiesce.Request) (quiesce.Holding, error)
}

// Target is a place that snapshots go to.
type Target struct {
	Name    string
	Check   func(ctx context.Context) error // whether it could take a snapshot now; nil for not to be asked
	Catalog *catalog.Catalog
}

// Identity is what goes into every manifest about who made it.
type Identity struct {
	Host    string // first folder on the targets
	Owner   string // of the state directory
	Program string // name and version
}

// Spool is where bytes wait for slow targets, so that containers need not.
type Spool struct {
	Dir   string
	Limit int64 // bytes, of one job
}

// Runner runs jobs. All fields are needed but those from Bases on.
type Runner struct {
	Identity Identity
	Keeper   Keeper
	Engine   quiesce.Looker // asked for the health of containers afterwards; nil for not to
	Access   Opener
	Targets  map[string]Target // by name
	Locks    catalog.Locks
	Spool    Spool
	Archive  archive.Options // Exclude and Progress come from the job
	Seal     seal.Recipients // none: archives are not encrypted
	Pruner   Pruner

	Now     func() time.Time
	Entropy io.Reader
	Log     *slog.Logger

	Bases      Bases                                     // what runs may lean on; nil for nothing
	LeanFor    time.Duration                             // longest time that archives lean on a full one; 0 is for full ones alone
	Starts     Starts                                    // asked how containers are started; nil for not to
	AnyTarget  bool                                      // a run that stored on one target is good
	AllowEmpty bool                                      // do not suspect a volume that has become empty
	Accept     bool                                      // nor one for anything else: what it holds is meant
	Progress   func(volume string, read, expected int64) // bytes; expected is 0 when it is not known
}

// Result is what came of one volume of a job.
type Result struct {
	Volume   string
	Manifest snapshot.Manifest // zero when nothing was read
	Targets  []Outcome         // one for each target that the archive was sent to
	Err      error             // what went wrong with the volume as a whole

	// AnyTarget says that one target is enough for the run to be good. Then what went wrong on others is told and does not count.
	AnyTarget bool

	// Unhealthy says which containers are not as healthy again as they were before they were held. It is no failure of the backup.
	Unhealthy []string
}

// Outcome is what came of one target.
type Outcome struct {
	Target string
	Err    error            // nil: the snapshot is there
	Pruned retention.Pruned // by retention, after that
	Prune  error
}

// Stored tells whether a good snapshot came to lie on any target.
func (r Result) Stored() bool {
	return r.Manifest.Good() && slices.ContainsFunc(r.Targets, func(o Outcome) bool { return o.Err == nil })
}

// Missed gives the targets that a good snapshot, which others have, did not come to lie on.
func (r Result) Missed() (missed []Outcome) {
	for _, o := range r.Targets {
		if o.Err != nil && r.Stored() {
			missed = append(missed, o)
		}
	}
	return missed
}

// Failure is everything that went wrong and counts, or nil.
func (r Result) Failure() error {
	errs := []error{r.Err}
	for _, o := range r.Targets {
		if o.Err != nil && !(r.AnyTarget && r.Stored()) {
			errs = append(errs, fmt.Errorf("target %s: %w", o.Target, o.Err))
		}
		if o.Prune != nil {
			errs = append(errs, fmt.Errorf("target %s: prune: %w", o.Target, o.Prune))
		}
	}
	return errors.Join(errs...)
}

// Run does a job, and gives a result for each of its volumes. When it returns, containers run again, also when ctx has ended.
func (r *Runner) Run(ctx context.Context, job plan.Job) (results []Result) {
	results = make([]Result, len(job.Volumes))
	names := make([]string, len(job.Volumes))
	for i, v := range job.Volumes {
		results[i].Volume, names[i] = v.Name, v.Name
		results[i].AnyTarget = r.AnyTarget
	}
	release, err := r.Locks.Hold(ctx, names...)
	if err != nil {
		failAll(results, err)
		return results
	}
	defer func() { failAll(results, release()) }()

	var readings []*reading
	for i, v := range job.Volumes {
		reading, err := r.prepare(ctx, v, &results[i], len(job.Volumes))
		if err != nil {
			results[i].Err = err
			continue
		}
		defer r.close(reading)
		readings = append(readings, reading)
	}
	arrivals := expect(readings)
	if len(readings) > 0 {
		r.takeHeld(ctx, readings)
	}
	for _, reading := range readings {
		if reading.taking != nil {
			reading.fail(r.complete(ctx, reading))
		}
		r.shut(reading)
	}
	r.finish(ctx, readings, arrivals)
	r.awaitHealth(ctx, readings)
	return results
}

// awaitHealth waits for the containers of a job to be healthy again, once all else is done.
func (r *Runner) awaitHealth(ctx context.Context, readings []*reading) {
	const limit = time.Minute // twice the interval between checks that engines assume
	if r.Engine == nil || len(readings) == 0 {
		return
	}
	problems := quiesce.AwaitHealth(ctx, r.Engine, readings[0].report.Checked, limit) // they share one hold
	for _, problem := range problems {
		r.Log.Warn("a container is not healthy after its backup", "problem", problem)
	}
	for _, reading := range readings {
		reading.result.Unhealthy = problems
	}
}

func failAll(results []Result, err error) {
	for i := range results {
		results[i].Err = errors.Join(results[i].Err, err)
	}
}

var errHoldLost = errors.New("containers no longer held still while the volume was read")

// takeHeld takes the volumes while their containers hold still. Uploads go on when it returns, containers do so already.
func (r *Runner) takeHeld(ctx context.Context, readings []*reading) {
	fail := func(err error) {
		for _, reading := range readings {
			reading.result.Err = errors.Join(reading.result.Err, err)
		}
	}
	r.settleAll(readings)
	r.writeBack(ctx, readings)
	stop := r.keepWrittenBack(ctx, readings)
	hold, err := r.Keeper.Hold(ctx, job(readings).Request())
	stop()
	if err != nil {
		fail(err)
		return
	}
	defer func() {
		report, err := hold.Release(ctx)
		if err != nil {
			fail(err)
		}
		for _, reading := range readings {
			reading.report = report
			if errors.Is(reading.result.Err, errHoldLost) {
				reading.result.Err = fmt.Errorf("%w: %s", reading.result.Err, strings.Join(report.Reasons, "; "))
			}
		}
	}()
	r.takeAll(ctx, hold, readings)
}

// takeAll takes one volume after the other, for as long as they hold still.
func (r *Runner) takeAll(ctx context.Context, hold quiesce.Holding, readings []*reading) {
	reading, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	watch.Go(func() {
		select {
		case <-hold.Lost():
			cancel(errHoldLost)
		case <-reading.Done():
		}
	})
	var told sync.Once
	defer told.Do(func() {}) // later a target may be as slow as it likes
	taken := r.Now()
	for _, one := range readings {
		if one.volume.Quiesce.Value != quiesce.None {
			one.stream.Full = func(slowest string) { told.Do(func() { r.heldLonger(one, slowest) }) }
			one.stream.Patience = r.patience(one, taken)
		}
		one.fail(r.take(reading, ctx, one, taken))
	}
}

// patience is how long a target may take nothing while containers are held until it does: for half of the time that is left, so that others
// get the archive before the hold is lost.
func (r *Runner) patience(one *reading, held time.Time) func() time.Duration {
	limit := job([]*reading{one}).Request().Limit
	if limit == 0 {
		return nil
	}
	return func() time.Duration { return held.Add(limit).Sub(r.Now()) / 2 }
}

// heldLonger says that a hold depends on a target's speed from now on.
func (r *Runner) heldLonger(one *reading, slowest string) {
	r.Log.Warn("the spool is full, so containers are held until a slow target has taken more", "volume", one.volume.Name, "target", slowest,
		"spool", r.Spool.Dir, "limit", r.Spool.Limit, "hint", "raise BACKUPD_SPOOL_LIMIT, and leave that much room free")
}

// fail notes why a volume could not be read, if there is a reason.
func (one *reading) fail(err error) {
	if err != nil {
		one.result.Err = errors.Join(one.result.Err, fmt.Errorf("read volume %q: %w", one.volume.Name, err))
	}
}

// job is what is left of a job once it is known which volumes can be read.
func job(readings []*reading) (j plan.Job) {
	for _, r := range readings {
		j.Volumes = append(j.Volumes, r.volume)
	}
	return j
}
