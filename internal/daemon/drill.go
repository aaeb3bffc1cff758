package daemon

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/schedule"
	"github.com/backupd/backupd/internal/snapshot"
)

// Driller tries out the newest snapshot of a volume, and stores the verdict. An error says that there is none, or none that is stored.
type Driller interface {
	Drill(ctx context.Context, v plan.Volume) (snapshot.Drill, error)
}

// NextDrill tells when the next drill of a volume is, zero for never. One that came to no verdict is tried again like a run that failed;
// a verdict counts until the next time, whichever it is.
func NextDrill(v plan.Volume, known ledger.Drills, host string, zone *time.Location, now time.Time) time.Time {
	if v.Refused || v.Drill.Value.String() == "" {
		return time.Time{}
	}
	last := now
	if since := lastDrill(known); !since.IsZero() {
		last = since
	}
	at := v.Drill.Value.For(host+"/"+v.Name+" drill", zone).Due(last, now) // not when the volume is backed up, where "H" decides
	if wait, again := schedule.Retry(known.Goes); again {
		ended := known.Last
		if ended.After(now.Add(wait)) { // the clock went back
			ended = now.Add(-wait)
		}
		at = earliest(at, ended.Add(wait))
	}
	return at
}

// lastDrill is what the next drill is counted from.
func lastDrill(known ledger.Drills) time.Time {
	if known.Began.IsZero() {
		return known.Since
	}
	return known.Began
}

// drill starts a drill beside the jobs if one is due, the one that has waited longest. It tells when the next one will be, unless one is
// under way: there is one at a time, as each may take as much memory as what it starts.
func (d *Daemon) drill(ctx context.Context, now time.Time) time.Time {
	if d.Driller == nil || d.drilling.Load() {
		return time.Time{}
	}
	due, next := d.drills(now)
	if len(due) == 0 {
		return next
	}
	d.drilling.Store(true)
	d.jobs.Go(func() error {
		defer d.nudge()
		defer d.drilling.Store(false)
		d.tryOut(ctx, due[0])
		return nil
	})
	return time.Time{}
}

// drills gives the volumes of which a snapshot is to be tried out now, and when the next one will be.
func (d *Daemon) drills(now time.Time) (due []plan.Volume, next time.Time) {
	known := d.Ledger.View().Volumes
	var fresh []string
	for _, v := range d.scan.volumes {
		at := NextDrill(v, known[v.Name].Drills, d.Host, d.Zone, now)
		switch {
		case at.IsZero():
			continue
		case at.After(now):
			next = earliest(next, at)
		default:
			due = append(due, v)
		}
		if known[v.Name].Drills.Since.IsZero() {
			fresh = append(fresh, v.Name)
		}
	}
	if len(fresh) > 0 {
		d.rememberDrills(func(s *ledger.State) {
			for _, name := range fresh {
				s.DrillsSince(name, now)
			}
		})
	}
	slices.SortStableFunc(due, func(a, b plan.Volume) int {
		return cmp.Compare(lastDrill(known[a.Name].Drills).UnixNano(), lastDrill(known[b.Name].Drills).UnixNano())
	})
	return due, next
}

func (d *Daemon) rememberDrills(change func(*ledger.State)) bool {
	err := d.Ledger.Update(func(s *ledger.State) error {
		change(s)
		return nil
	})
	if err != nil {
		d.Log.Error("drills cannot be remembered", "err", err)
	}
	return err == nil
}

// tryOut makes one drill, once no job runs or that has taken too long, and remembers whether it came to a verdict.
func (d *Daemon) tryOut(ctx context.Context, v plan.Volume) {
	d.giveWay(ctx)(false)
	if ctx.Err() != nil || !d.rememberDrills(func(s *ledger.State) { s.DrillBegan(v.Name, d.Now()) }) {
		return
	}
	d.Log.Info("trying out the newest snapshot", "volume", v.Name)
	var drill snapshot.Drill
	err := d.surviving(func() (err error) {
		drill, err = d.Driller.Drill(ctx, v)
		return err
	})
	d.rememberDrills(func(s *ledger.State) { s.DrillEnded(v.Name, d.Now(), err) })
	switch {
	case ctx.Err() != nil && err != nil:
		d.Log.Info("a drill was cut off, and will be made again", "volume", v.Name)
	case err != nil:
		d.Log.Error("a snapshot could not be tried out, which says nothing about it", "volume", v.Name, "err", err)
	default:
		d.tellDrill(drill)
	}
}

func (d *Daemon) tellDrill(drill snapshot.Drill) {
	facts := []any{"volume", drill.Volume, "snapshot", drill.ID, "bytes", drill.Bytes, "took", time.Duration(drill.TookMS) * time.Millisecond}
	if drill.Proven() {
		d.Log.Info("a snapshot is proven to be restorable", append(facts, "recovery", drill.Trial().Recovery)...)
		return
	}
	d.Log.Error("a snapshot FAILED its drill", append(facts, "err", drill.Failed,
		"hint", "it no longer counts: retention relies on older ones; \"backupd show\" with its id tells what was asked and what came back, "+
			"\"backupd backup\" and then \"backupd drill\" tell whether the volume itself is well")...)
}
