package daemon

import (
	"context"
	"time"

	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/schedule"
	"github.com/backupd/backupd/internal/verify"
)

// Verifier reads back what is stored.
type Verifier interface {
	Round(ctx context.Context, began time.Time, giveWay func(), tell func(verify.Outcome)) error
}

// mostPatience is how long the reading of one snapshot gives way to jobs: a host that always runs some must not go without.
const mostPatience = time.Hour

// NextVerify tells when the next go at reading back is, and whether it begins a new round. A round that did not come to its end is gone
// on with as a run that failed is tried again.
func NextVerify(spec schedule.Spec, r ledger.Round, host string, zone *time.Location, now time.Time) (at time.Time, fresh bool) {
	last := r.Began
	if last.IsZero() {
		last = r.Since
	}
	if last.IsZero() {
		last = now
	}
	at = spec.For(host, zone).Due(last, now)
	if wait, again := schedule.Retry(r.Goes); again && r.Ended.Before(r.Began) {
		ended := r.Last
		if ended.After(now.Add(wait)) { // the clock went back
			ended = now.Add(-wait)
		}
		if at.IsZero() || ended.Add(wait).Before(at) {
			return ended.Add(wait), false
		}
	}
	return at, true
}

// verify starts to read back what is stored, beside the jobs, if that is due. It tells when it will be, unless it is under way.
func (d *Daemon) verify(ctx context.Context, now time.Time) time.Time {
	if d.Verify.String() == "" || d.verifying.Load() {
		return time.Time{}
	}
	known := d.Ledger.View().Verify
	at, fresh := NextVerify(d.Verify, known, d.Host, d.Zone, now)
	if known.Since.IsZero() {
		known.Since = now
		d.rememberVerify(known)
	}
	if at.IsZero() || at.After(now) {
		return at
	}
	if fresh {
		known.Began, known.Goes = now, 0
	}
	known.Goes, known.Last = known.Goes+1, now
	if !d.rememberVerify(known) {
		return now.Add(maxPause)
	}
	d.verifying.Store(true)
	d.jobs.Go(func() error {
		defer d.nudge()
		defer d.verifying.Store(false)
		d.round(ctx, known)
		return nil
	})
	return time.Time{}
}

func (d *Daemon) rememberVerify(r ledger.Round) bool {
	err := d.Ledger.Update(func(s *ledger.State) error {
		s.Verify = r
		return nil
	})
	if err != nil {
		d.Log.Error("verifying cannot be remembered", "err", err)
	}
	return err == nil
}

// round makes one go at a round, and remembers what came of it.
func (d *Daemon) round(ctx context.Context, r ledger.Round) {
	counts := map[verify.Verdict]int{}
	wait := d.giveWay(ctx)
	d.Log.Info("verifying what is stored", "since", r.Began)
	err := d.surviving(func() error {
		return d.Verifier.Round(ctx, r.Began.Round(0), func() { wait(false) }, func(o verify.Outcome) {
			wait(true)
			counts[o.Verdict]++
			d.tellVerified(o)
		})
	})
	r.Last = d.Now()
	switch {
	case err == nil && counts[verify.Unread] == 0:
		r.Ended, r.Goes = d.Now(), 0
	case counts[verify.Sound]+counts[verify.Damaged] > 0:
		r.Goes = 1 // it got on
	}
	d.rememberVerify(r)
	facts := []any{"sound", counts[verify.Sound], "damaged", counts[verify.Damaged], "unread", counts[verify.Unread]}
	switch {
	case ctx.Err() != nil:
		d.Log.Info("verifying was cut off, and will go on", facts...)
	case err != nil:
		d.Log.Error("not all that is stored could be verified", append(facts, "err", err)...)
	default:
		d.Log.Info("verified what is stored", facts...)
	}
}

// giveWay gives what makes the reading of one snapshot wait for jobs, in all for so long; with the next one that begins anew.
func (d *Daemon) giveWay(ctx context.Context) func(next bool) {
	const look = time.Second
	left := mostPatience
	return func(next bool) {
		if next {
			left = mostPatience
			return
		}
		for left > 0 && ctx.Err() == nil && d.busy() {
			select {
			case <-ctx.Done():
			case <-time.After(look):
				left -= look
			}
		}
	}
}

func (d *Daemon) busy() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.running) > 0
}

const mostTold = 5 // files that damage hits

func (d *Daemon) tellVerified(o verify.Outcome) {
	s := o.Snapshot
	facts := []any{"volume", s.Volume, "snapshot", s.ID, "target", o.Target}
	if o.Aside != nil {
		d.Log.Error("what was known of damage is lost", "volume", s.Volume, "err", o.Aside)
	}
	if o.Unrecorded != nil {
		d.Log.Error("what was found cannot be remembered", append(facts, "verdict", o.Verdict, "err", o.Unrecorded)...)
	}
	paths, hits, why := o.Why()
	switch o.Verdict {
	case verify.Damaged:
		if len(o.Hurts) > 0 {
			facts = append(facts, "hurts", o.Hurts) // too
		}
		d.Log.Error("a stored snapshot is DAMAGED", append(facts, "err", why, "hits", hits, "first", paths[:min(len(paths), mostTold)],
			"hint", "it no longer counts: retention relies on older ones, and a backup now makes a new one; look at that target's disk or server; "+
				"\"backupd verify\" with its id looks again and shows what it hits, \"backupd restore --keep-going\" gives back all else")...)
	case verify.Unread:
		d.Log.Warn("a stored snapshot could not be verified", append(facts, "err", why)...)
	case verify.Gone:
		d.Log.Debug("a snapshot was removed while it was verified", facts...)
	case verify.Sound:
		d.Log.Info("a stored snapshot is sound", append(facts, "bytes", o.Bytes)...)
		if s.Proof.Damaged != "" {
			d.Log.Warn("it was found damaged before, and counts again: is that target's disk, or this machine's memory, to be trusted?", append(facts, "was", s.Proof.Damaged)...)
		}
	}
}
