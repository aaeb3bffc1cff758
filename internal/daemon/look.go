package daemon

import (
	"context"
	"fmt"
	"time"

	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/plan"
)

// scan is what the last looks at the engine gave.
type scan struct {
	volumes  []plan.Volume
	at       time.Time       // of the last look
	failures int             // looks in a row that did not work
	told     map[string]bool // problems that are in the log already
}

// The pauses between looks at an engine: it is not asked more often than once in minPause, however much happens in it, and not less
// often than once in maxPause when it cannot be reached.
const (
	minPause = time.Second
	maxPause = time.Minute
	patience = time.Minute // for one look
)

// forgetAfter is how long a volume that is no longer enrolled keeps its place in the schedule, in case that it comes back.
const forgetAfter = 30 * 24 * time.Hour

// look finds the volumes that are enrolled, and tells when to look again: zero for whenever the loop comes by.
func (d *Daemon) look(ctx context.Context, now time.Time) time.Time {
	s := &d.scan
	if since := now.Sub(s.at); since >= 0 && since < minPause {
		return s.at.Add(minPause)
	}
	s.at = now
	volumes, err := d.find(ctx, now)
	if err != nil {
		s.failures++
		if ctx.Err() == nil {
			d.Log.Error("volumes cannot be discovered", "err", err, "attempt", s.failures)
		}
		return now.Add(backOff(s.failures))
	}
	if s.failures > 0 {
		d.Log.Info("volumes are discovered again", "attempts", s.failures+1)
	}
	s.volumes, s.failures = volumes, 0
	d.tellProblems()
	return time.Time{}
}

func (d *Daemon) find(ctx context.Context, now time.Time) ([]plan.Volume, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	volumes, err := d.Finder.Volumes(ctx)
	if err != nil {
		return nil, err
	}
	return volumes, d.greet(volumes, now)
}

// backOff doubles from minPause to maxPause.
func backOff(failures int) time.Duration {
	return min(minPause<<min(failures-1, 10), maxPause)
}

// greet notes since when a volume is known, because that is what the first run of its schedule counts from, and forgets volumes that
// have long been gone.
func (d *Daemon) greet(volumes []plan.Volume, now time.Time) error {
	state := d.Ledger.View()
	enrolled := make(map[string]bool, len(volumes))
	var strangers []string
	for _, v := range volumes {
		enrolled[v.Name] = true
		if !v.Refused && state.Volumes[v.Name].FirstSeen.IsZero() {
			strangers = append(strangers, v.Name)
			d.Log.Info("volume enrolled", "volume", v.Name, "by", v.Enrolled.String(), "schedule", v.Schedule.Value.String())
		}
	}
	forget := func(s *ledger.State) {
		s.Forget(func(volume string) bool { return !enrolled[volume] }, now.Add(-forgetAfter))
	}
	known := len(state.Volumes)
	if forget(&state); len(strangers) == 0 && len(state.Volumes) == known {
		return nil
	}
	err := d.Ledger.Update(func(s *ledger.State) error {
		for _, name := range strangers {
			s.Seen(name, now)
		}
		forget(s)
		return nil
	})
	if err != nil {
		return fmt.Errorf("remember which volumes there are: %w", err)
	}
	return nil
}

// tellProblems logs each problem once for as long as it lasts.
func (d *Daemon) tellProblems() {
	told := map[string]bool{}
	for _, v := range d.scan.volumes {
		for _, p := range v.Problems {
			key := v.Name + "\x00" + p.String()
			if told[key] = true; !d.scan.told[key] {
				d.Log.Warn("problem with a volume's settings", "volume", v.Name, "problem", p.String(), "refused", v.Refused)
			}
		}
	}
	d.scan.told = told
}
