package daemon

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/schedule"
)

// due gives the jobs that are to run now, in the order in which they get their turn, those whose targets are to be filled, and when the next
// one of either will be.
func (d *Daemon) due(now time.Time) (jobs, filling []plan.Job, next time.Time) {
	idle := d.idle()
	known := d.Ledger.View().Volumes // not before: what is idle by now may still have been running then
	var due []plan.Volume
	for _, v := range idle {
		at := NextRun(v, known[v.Name], d.Host, d.Zone, now)
		switch {
		case at.IsZero():
		case at.After(now):
			next = earliest(next, at)
		default:
			due = append(due, v)
		}
	}
	jobs = plan.Jobs(due)
	// Who has waited longest comes first, or volumes that are due all the time would leave the others no turn.
	slices.SortStableFunc(jobs, func(a, b plan.Job) int { return oldestRun(a, known).Compare(oldestRun(b, known)) })
	filling, then := fills(idle, due, known, now)
	return jobs, filling, earliest(next, then)
}

// idle gives the volumes that could be run.
func (d *Daemon) idle() []plan.Volume {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(d.scan.volumes), func(v plan.Volume) bool { return v.Refused || d.running[v.Name] })
}

func oldestRun(job plan.Job, known map[string]ledger.Volume) time.Time {
	oldest := known[job.Volumes[0].Name].LastRun
	for _, v := range job.Volumes[1:] {
		if at := known[v.Name].LastRun; at.Before(oldest) {
			oldest = at
		}
	}
	return oldest
}

// NextRun tells when a volume is to run next: as its schedule says, counted from its last run or from when it was first seen; or
// sooner, when the last run failed and trying again may help. A moment that has passed means now.
func NextRun(v plan.Volume, known ledger.Volume, host string, zone *time.Location, now time.Time) time.Time {
	last := known.LastRun
	if last.IsZero() {
		last = known.FirstSeen
	}
	if last.IsZero() {
		last = now
	}
	at := v.Schedule.Value.For(host+"/"+cmp.Or(v.Group.Value, v.Name), zone).Due(last, now) // a group has one moment
	if wait, again := schedule.Retry(known.Failures); again && !known.Settled {
		ended := known.LastRun
		if known.LastEnd.After(ended) {
			ended = known.LastEnd
		}
		if ended.After(now.Add(wait)) { // the clock went back
			ended = now.Add(-wait)
		}
		at = earliest(at, ended.Add(wait))
	}
	return at
}

// start starts to do something to the volumes of a job, if one more may run.
func (d *Daemon) start(ctx context.Context, job plan.Job, now time.Time, do func(ctx context.Context, job plan.Job, now time.Time)) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.slots == 0 || ctx.Err() != nil {
		return false
	}
	d.slots--
	for _, v := range job.Volumes {
		d.running[v.Name] = true
	}
	d.jobs.Go(func() error {
		defer d.ended(job)
		do(ctx, job, now)
		return nil
	})
	return true
}

func (d *Daemon) ended(job plan.Job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slots++
	for _, v := range job.Volumes {
		delete(d.running, v.Name)
	}
	d.nudge()
}

// run does a job and remembers it. That it was begun is remembered first, as a failure until something better is known: so a run that
// a crash cut off is tried again, and not for ever.
func (d *Daemon) run(ctx context.Context, job plan.Job, now time.Time) {
	err := d.Ledger.Update(func(s *ledger.State) error {
		for _, v := range job.Volumes {
			s.Began(v.Name, now)
		}
		return nil
	})
	if err != nil {
		d.Log.Error("a run that cannot be remembered is not begun", "err", err)
		return
	}
	results := d.attempt(ctx, job)
	err = d.Ledger.Update(func(s *ledger.State) error {
		for _, r := range results {
			s.Ended(r.Volume, d.Now(), r.Failure(), r.Stored())
			if r.Settled() {
				s.Settles(r.Volume)
			}
			Missed(s, r, d.Now(), d.AnyTarget)
		}
		return nil
	})
	if err != nil {
		d.Log.Error("the end of a run cannot be remembered: it will be repeated", "err", err)
	}
	for _, r := range results {
		d.tell(r)
	}
}

// attempt runs a job.
func (d *Daemon) attempt(ctx context.Context, job plan.Job) (results []backup.Result) {
	err := d.surviving(func() error {
		results = d.Runner.Run(ctx, job)
		return nil
	})
	if err != nil {
		results = nil
		for _, v := range job.Volumes {
			results = append(results, backup.Result{Volume: v.Name, Err: err})
		}
	}
	return results
}

// surviving survives a bug in what it does: the other volumes' backups must go on.
func (d *Daemon) surviving(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			d.Log.Error("a job panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return do()
}

func (d *Daemon) tell(r backup.Result) {
	m := r.Manifest
	facts := []any{"volume", r.Volume, "snapshot", m.ID, "bytes", m.Contents.Bytes, "stored_bytes", m.StoredBytes(), "grade", m.Grade, "held_ms", m.HeldMS()}
	if err := r.Failure(); err != nil {
		d.Log.Error("backup failed", append(facts, "err", err, "stored", r.Stored())...)
		return
	}
	d.Log.Info("backup done", facts...)
	for _, o := range r.Missed() { // else it is in the failure
		d.Log.Warn("a target missed the snapshot, and will be filled later", "volume", r.Volume, "snapshot", m.ID, "target", o.Target, "err", o.Err)
	}
}
