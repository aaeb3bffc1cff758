package daemon_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backupd/backupd/internal/plan"
)

// modelled is a volume as the model of a month knows it: its schedule as a function of the time of day and as a period, how long its
// runs take, and which of them fail. Everything is in whole seconds since the beginning.
type modelled struct {
	name, spec string
	matches    func(now time.Time) bool
	every      int
	takes      int
	fails      func(run int) bool
}

func month() []modelled {
	return []modelled{
		{
			name: "nightly", spec: "30 2 * * *", takes: 2400,
			matches: func(now time.Time) bool { return now.Hour() == 2 && now.Minute() == 30 && now.Second() == 0 },
			fails:   func(run int) bool { return run%5 < 2 || run > 12 && run < 22 },
		},
		{
			name: "working days", spec: "0 9-17 * * 1-5", takes: 61 * 60,
			matches: func(now time.Time) bool {
				weekday := now.Weekday() != time.Saturday && now.Weekday() != time.Sunday
				return weekday && now.Hour() >= 9 && now.Hour() <= 17 && now.Minute() == 0 && now.Second() == 0
			},
			fails: func(run int) bool { return run%7 == 3 },
		},
		{
			name: "seven hours", spec: "@every 7h", every: 7 * 3600, takes: 20,
			matches: func(time.Time) bool { return false },
			fails:   func(run int) bool { return run%4 == 1 },
		},
	}
}

// up tells whether the daemon runs: it is off for one hour in 29, and for three days in the middle of the month. It never ends or begins
// in the second in which something is due.
func up(second int) bool {
	hour := (second + 7) / 3600
	return hour%29 != 28 && (hour < 15*24 || hour >= 18*24)
}

const seconds = 31 * 24 * 3600

// follow goes through the month second by second, and gives the runs of one volume.
func (m modelled) follow(began time.Time) (runs []run) {
	const never = -1
	last, ended, failures, until := 0, never, 0, never // until: when the run that is under way ends
	pending := false
	end := func(now int, failed bool) {
		ended, until = now, never
		if !failed {
			failures = 0
		}
	}
	waits := map[int]int{1: 60, 2: 300, 3: 900} // and over again at each time of the schedule
	for now := range seconds {
		pending = pending || now > 0 && m.matches(began.Add(time.Duration(now)*time.Second))
		if !up(now) {
			if until != never {
				end(now, true) // cut off
			}
			continue
		}
		if now == until {
			end(now, m.fails(len(runs)-1))
		}
		wait, again := waits[failures%4]
		due := pending || m.every > 0 && now >= last+m.every || again && ended != never && now >= ended+wait
		if until == never && due {
			runs = append(runs, at(m.name, time.Duration(now)*time.Second))
			last, until, pending = now, now+m.takes, false
			failures++
		}
	}
	return runs
}

// TestAMonth has three volumes run for a month, with failures and with times at which the daemon is off, and compares what is run with
// a model that looks at every second.
func TestAMonth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		volumes := month()
		w := newWorld(t)
		w.parallel = len(volumes)
		w.runner.takes = map[string]time.Duration{}
		fails := map[string]func(int) bool{}
		var planned []plan.Volume
		for _, v := range volumes {
			planned = append(planned, volume(t, v.name, v.spec))
			w.runner.takes[v.name], fails[v.name] = time.Duration(v.takes)*time.Second, v.fails
		}
		w.finder.set(planned...)
		w.runner.fails = func(volume string, run int) error {
			if fails[volume](run) {
				return errBroken
			}
			return nil
		}
		for from := 0; from < seconds; {
			to := from + 1
			for to < seconds && up(to) == up(from) {
				to++
			}
			if d := time.Duration(to-from) * time.Second; up(from) {
				w.during(d)
			} else {
				time.Sleep(d)
			}
			from = to
		}
		var want []run
		for _, v := range volumes {
			want = append(want, v.follow(w.began)...)
		}
		byVolume := func(a, b run) int { return strings.Compare(a.volume, b.volume) }
		slices.SortStableFunc(want, byVolume)
		got := w.runner.done()
		slices.SortStableFunc(got, byVolume)
		wantSame(t, want, got)
		t.Logf("%d runs", len(want))
	})
}
