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
	at       time.Time       // of the last look that worked
	failures int             // looks in a row that did not
	told     map[string]bool // problems that are in the log already
}

// The pauses between looks at an engine: it is not asked more often than once in minPause, however much happens in it, and not less
// often than once in maxPause when it cannot be reached.
const (
	minPause = time.Second
	maxPause = time.Minute
	patience = time.Minute // for one look
)

// look finds the volumes that are enrolled, and tells when to look again: zero for whenever the loop comes by.
func (d *Daemon) look(ctx context.Context, now time.Time) time.Time {
	s := &d.scan
	if since := now.Sub(s.at); s.failures == 0 && since >= 0 && since < minPause {
		return s.at.Add(minPause)
	}
	looking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	volumes, err := d.Finder.Volumes(looking)
	if err == nil {
		err = d.greet(volumes, now)
	}
	if err != nil {
		if ctx.Err() == nil {
			d.Log.Error("volumes cannot be discovered", "err", err, "attempt", s.failures+1)
		}
		s.failures++
		return now.Add(backOff(s.failures))
	}
	if s.failures > 0 {
		d.Log.Info("volumes are discovered again", "attempts", s.failures+1)
	}
	s.volumes, s.at, s.failures = volumes, now, 0
	d.tellProblems()
	return time.Time{}
}

// backOff doubles from minPause to maxPause.
func backOff(failures int) time.Duration {
	return min(minPause<<min(failures-1, 10), maxPause)
}

// greet notes since when a volume is known, because that is what the first run of its schedule counts from.
func (d *Daemon) greet(volumes []plan.Volume, now time.Time) error {
	known := d.Ledger.View().Volumes
	var strangers []string
	for _, v := range volumes {
		if known[v.Name].FirstSeen.IsZero() {
			strangers = append(strangers, v.Name)
			d.Log.Info("volume enrolled", "volume", v.Name, "by", v.Enrolled.String(), "schedule", v.Schedule.Value.String())
		}
	}
	if len(strangers) == 0 {
		return nil
	}
	err := d.Ledger.Update(func(s *ledger.State) error {
		for _, name := range strangers {
			s.Seen(name, now)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remember new volumes: %w", err)
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
