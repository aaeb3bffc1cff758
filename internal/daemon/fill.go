package daemon

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/gaps"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/schedule"
)

// Filler fills the targets that missed snapshots of a volume.
type Filler interface {
	Fill(ctx context.Context, v plan.Volume, l gaps.Limits) ([]gaps.Copy, error)
}

// mostCopies bounds how long one go at filling keeps a volume, and those that share its runs, from being backed up.
const mostCopies = 4

// fills gives the jobs of which some volume's targets are to be filled now, and when the next one will be. A job that is due to be run is not
// among them: that comes first.
func fills(idle, due []plan.Volume, known map[string]ledger.Volume, now time.Time) (jobs []plan.Job, next time.Time) {
	runs := map[string]bool{}
	for _, v := range due {
		runs[v.Name] = true
	}
	for _, job := range plan.Jobs(idle) {
		if slices.ContainsFunc(job.Volumes, func(v plan.Volume) bool { return runs[v.Name] }) {
			continue
		}
		at := time.Time{}
		for _, v := range job.Volumes {
			at = earliest(at, known[v.Name].NextFill)
		}
		switch {
		case at.IsZero():
		case at.After(now):
			next = earliest(next, at)
		default:
			jobs = append(jobs, job)
		}
	}
	return jobs, next
}

// fill fills what targets missed of a job's volumes. That a go was begun is remembered first, like that of a run.
func (d *Daemon) fill(ctx context.Context, job plan.Job, now time.Time) {
	for _, v := range job.Volumes {
		known := d.Ledger.View().Volumes[v.Name]
		if known.NextFill.IsZero() || known.NextFill.After(now) || ctx.Err() != nil {
			continue
		}
		goes := known.Fills + 1
		if err := d.rememberFill(v.Name, known.Missed, goes, nextFill(now, goes, d.AnyTarget)); err != nil {
			d.Log.Error("a fill that cannot be remembered is not begun", "volume", v.Name, "err", err)
			continue
		}
		limits := gaps.Limits{To: slices.Sorted(maps.Keys(known.Missed)), Since: known.Missed, Most: mostCopies}
		var copies []gaps.Copy
		err := d.surviving(func() (err error) {
			copies, err = d.Filler.Fill(ctx, v, limits)
			return err
		})
		d.filled(v, known.Missed, goes, copies, err, limits)
	}
}

// filled remembers what came of a go. One that only came to its bound goes on at once.
func (d *Daemon) filled(v plan.Volume, missed map[string]time.Time, goes int, copies []gaps.Copy, err error, limits gaps.Limits) {
	left := missed
	if err == nil {
		left = gaps.Left(missed, copies, limits)
	}
	next := nextFill(d.Now(), goes, d.AnyTarget)
	failed := err != nil
	for _, c := range copies {
		if c.Err != nil {
			failed = true
			d.Log.Warn("a target cannot be filled", "volume", v.Name, "snapshot", c.Snapshot.ID, "target", c.Target, "err", c.Err)
		}
	}
	switch {
	case err != nil:
		d.Log.Error("targets cannot be filled", "volume", v.Name, "err", err)
	case !failed:
		goes, next = 0, d.Now()
	}
	if err := d.rememberFill(v.Name, left, goes, next); err != nil {
		d.Log.Error("the end of a fill cannot be remembered: it will be repeated", "volume", v.Name, "err", err)
	}
}

func (d *Daemon) rememberFill(volume string, missed map[string]time.Time, goes int, next time.Time) error {
	return d.Ledger.Update(func(s *ledger.State) error {
		s.Fills(volume, missed, goes, next)
		return nil
	})
}

// nextFill is when a go at filling follows another one: as a run that failed is tried again, where all targets are wanted for a run to be good;
// else not before the next run.
func nextFill(now time.Time, goes int, anyTarget bool) time.Time {
	wait, again := schedule.Retry(goes + 1)
	if anyTarget || !again {
		return time.Time{}
	}
	return now.Add(wait)
}

// Missed remembers the targets that a run missed. One that earlier runs missed and this one did not can be filled now.
func Missed(s *ledger.State, r backup.Result, now time.Time, anyTarget bool) {
	if !r.Stored() {
		return
	}
	var names []string
	for _, o := range r.Missed() {
		names = append(names, o.Target)
	}
	next := nextFill(now, 0, anyTarget)
	for target := range s.Volumes[r.Volume].Missed {
		if !slices.Contains(names, target) {
			next = now
		}
	}
	s.Misses(r.Volume, r.Manifest.Taken, names)
	s.Fills(r.Volume, s.Volumes[r.Volume].Missed, 0, next)
}
