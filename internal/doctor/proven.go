package doctor

import (
	"context"
	"time"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/snapshot"
)

// Drills is what Proven looks at.
type Drills struct {
	Finder Finder
	From   map[string]Lister // targets by name
	Known  map[string]ledger.Volume
	Host   string
	Zone   *time.Location
	Now    time.Time
}

// Proven looks whether snapshots of each volume are proven to be restorable, as often as they are meant to be.
func Proven(d Drills) Check {
	return Check{Name: "drills", Look: func(ctx context.Context, r *Report) {
		volumes, err := d.Finder.Volumes(ctx)
		if err != nil {
			return // told by who looks at the volumes
		}
		tried, all := d.tried(ctx)
		for _, v := range volumes {
			if t := tried[v.Name]; all || t.proof.Proven {
				d.proven(r, v, t)
			}
		}
	}}
}

// trials are the newest of a volume, of whatever snapshot on whatever target.
type trials struct{ proof, last snapshot.Trial }

// tried gives what all targets tell, or those that could be listed: why others could not is told by who looks at them.
func (d Drills) tried(ctx context.Context) (tried map[string]trials, all bool) {
	tried, all = map[string]trials{}, true
	for _, target := range d.From {
		for l, err := range target.Each(ctx, catalog.Query{}) {
			all = all && err == nil
			for _, s := range l.Snapshots {
				tried[s.Volume] = tried[s.Volume].with(s)
			}
		}
	}
	return tried, all
}

func (t trials) with(s catalog.Snapshot) trials {
	if p := s.Proven(); p.At.After(t.proof.At) {
		t.proof = p
	}
	if l := s.Drilled(); l.At.After(t.last.At) {
		t.last = l
	}
	return t
}

func (d Drills) proven(r *Report, v plan.Volume, t trials) {
	known := d.Known[v.Name].Drills
	if !t.last.At.IsZero() && !t.last.Proven {
		r.Warn("\"backupd list "+v.Name+"\" and \"backupd show\" tell why; \"backupd drill "+v.Name+"\" tries the newest good snapshot",
			"the last drill of volume %q, %s ago, FAILED", v.Name, days(d.Now.Sub(t.last.At)))
	}
	if known.Error != "" {
		r.Warn("\"backupd drill "+v.Name+"\" tries again", "the last drill of volume %q came to no verdict: %s", v.Name, known.Error)
	}
	if v.Drill.Value.String() == "" {
		return
	}
	last, word := t.proof.At, "was last proven to be restorable"
	if last.IsZero() {
		last, word = known.Since, "was never proven to be restorable, though that was meant to be done since"
	}
	if last.IsZero() {
		r.Note("volume %q: the daemon has not run yet, so nothing was tried out by itself (%s)", v.Name, v.Drill.Value)
		return
	}
	s := v.Drill.Value.For(d.Host, d.Zone)
	switch late := s.Next(s.Next(last)).Before(d.Now); {
	case late:
		r.Warn("look into the daemon's log for why; \"backupd drill "+v.Name+"\" does it now", "volume %q %s %s ago, and is meant to be %s",
			v.Name, word, days(d.Now.Sub(last)), v.Drill.Value)
	case t.proof.Proven:
		r.OK("volume %q %s %s ago, in %s", v.Name, word, days(d.Now.Sub(last)), t.proof.Recovery.Round(time.Second))
	}
}
