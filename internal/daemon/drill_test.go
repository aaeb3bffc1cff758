package daemon_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/schedule"
	"github.com/backupd/backupd/internal/snapshot"
)

// driller notes drills instead of making them.
type driller struct {
	world *world
	takes time.Duration
	does  func(n int) (failed string, err error) // by the number of the drill, from 0; nil for a proof

	mu     sync.Mutex
	drills []run
	open   int
}

func (d *driller) Drill(ctx context.Context, v plan.Volume) (snapshot.Drill, error) {
	d.mu.Lock()
	n := len(d.drills)
	d.drills = append(d.drills, at(v.Name, time.Since(d.world.began)))
	if d.open++; d.open > 1 {
		d.world.t.Error("there are two drills at a time")
	}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.open--
	}()
	select {
	case <-time.After(d.takes):
	case <-ctx.Done():
		return snapshot.Drill{}, context.Cause(ctx)
	}
	drill := snapshot.Drill{Volume: v.Name, ID: "some", RestoreMS: 2000}
	var err error
	if d.does != nil {
		drill.Failed, err = d.does(n)
	}
	return drill, err
}

// drilled is a volume that is backed up once a year, and tried out more often.
func drilled(t *testing.T, name, spec string) plan.Volume {
	t.Helper()
	v := volume(t, name, "@yearly")
	var err error
	if v.Drill.Value, err = schedule.ParseOptional(spec); err != nil {
		t.Fatal(err)
	}
	return v
}

func (w *world) wantDrills(want ...run) {
	w.t.Helper()
	wantSame(w.t, want, w.driller.drills)
}

func TestSnapshotsAreTriedOutOnASchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drilled(t, "db", "@weekly"), drilled(t, "web", "never")) // on a Saturday
		w.during(3 * hour)                                                        // no drill at the first start
		w.during(8 * day)
		w.wantDrills(at("db", day), at("db", 8*day))
		time.Sleep(20 * day)
		w.during(hour)
		w.wantDrills(at("db", day), at("db", 8*day), at("db", 28*day+3*hour)) // made up once
		if n := w.log.count("INFO a snapshot is proven", "volume=db", "snapshot=some", "recovery=2s"); n != 3 {
			t.Errorf("proofs were told %d times", n)
		}
	})
}

func TestARefusedVolumeIsNotTriedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := drilled(t, "db", "@daily")
		v.Refused = true
		w := newWorld(t, v)
		w.during(3 * day)
		w.wantDrills()
	})
}

func TestOneDrillAtATimeWhoHasWaitedLongestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drilled(t, "a", "0 3 * * *"), drilled(t, "b", "0 3 * * *"), drilled(t, "c", "0 4 * * *"))
		w.driller.takes = 2 * hour
		w.remember(func(s *ledger.State) {
			s.DrillBegan("b", w.began.Add(-2*day))
			s.DrillEnded("b", w.began.Add(-2*day), nil)
			s.DrillsSince("a", w.began.Add(-hour))
			s.DrillsSince("c", w.began.Add(-3*hour))
		})
		w.during(12 * hour)
		w.wantDrills(at("b", 0), at("a", 3*hour), at("c", 5*hour), at("b", 7*hour))
	})
}

func TestOnlyADrillWithoutVerdictIsTriedAgain(t *testing.T) {
	again := []run{at("db", 3*hour), at("db", 3*hour+minute), at("db", 3*hour+6*minute), at("db", 3*hour+21*minute)}
	for name, test := range map[string]struct {
		does func(n int) (string, error)
		want []run
	}{
		"no image":    {func(int) (string, error) { return "", errBroken }, again},
		"by a bug":    {func(int) (string, error) { panic("out of range") }, again},
		"bad data":    {func(int) (string, error) { return "bad data", nil }, again[:1]},
		"image later": {func(n int) (string, error) { return "", [...]error{errBroken, errBroken, nil}[n] }, again[:3]},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, drilled(t, "db", "0 3 * * *"))
				w.driller.does = test.does
				w.during(day)
				w.wantDrills(test.want...)
			})
		})
	}
}

func TestAFailedDrillIsToldLoudly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drilled(t, "db", "0 3 * * *"))
		w.driller.does = func(int) (string, error) { return "a page is torn", nil }
		w.during(4 * hour)
		if n := w.log.count("ERROR a snapshot FAILED its drill", "volume=db", "snapshot=some", "a page is torn", "hint="); n != 1 {
			t.Errorf("it was told %d times", n)
		}
		if d := w.remembered()["db"].Drills; d.Goes != 0 || d.Error != "" {
			t.Errorf("remembered as %+v", d)
		}
	})
}

func TestWhyThereIsNoVerdictIsToldAndRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drilled(t, "db", "0 3 * * *"))
		w.driller.does = func(int) (string, error) { return "", errBroken }
		w.during(4 * hour)
		if n := w.log.count("ERROR a snapshot could not be tried out", "volume=db", errBroken.Error()); n != 4 {
			t.Errorf("it was told %d times", n)
		}
		if d := w.remembered()["db"].Drills; d.Goes != 4 || d.Error != errBroken.Error() {
			t.Errorf("remembered as %+v", d)
		}
	})
}

func TestADrillThatIsCutOffIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drilled(t, "db", "0 3 * * *"))
		w.driller.takes = 2 * hour
		w.during(4 * hour)
		w.during(4 * hour)
		w.wantDrills(at("db", 3*hour), at("db", 4*hour+minute))
	})
}

func TestADrillThatCrashesIsNotRepeatedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drilled(t, "db", "0 3 * * 0"))
		w.driller.takes = hour
		w.during(day + 3*hour - minute)
		for range 40 {
			w.crash(7 * minute)
		}
		if n := len(w.driller.drills); n != 4 {
			t.Errorf("%d drills, want 4", n)
		}
	})
}

func TestDrillsWaitForBackupsAndNotForEver(t *testing.T) {
	for takes, want := range map[time.Duration]time.Duration{20 * minute: 3*hour + 20*minute + time.Second, 20 * hour: 4 * hour} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, drilled(t, "db", "0 3 * * *"), volume(t, "web", "0 3 * * *"))
			w.runner.takes = map[string]time.Duration{"web": takes}
			w.during(12 * hour)
			w.wantDrills(at("db", want))
		})
	}
}

func TestBackupsDoNotWaitForDrills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drilled(t, "db", "0 3 * * *"), volume(t, "web", "0 4 * * *"))
		w.driller.takes = 5 * hour
		w.during(6 * hour)
		w.wantRuns(at("web", 4*hour))
	})
}

func TestDrillsTakeAnEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drilled(t, "db", "0 3 * * *"))
		w.during(hour)
		w.finder.fail(engine.ErrUnreachable)
		w.during(4 * hour)
		w.wantDrills()
		w.finder.fail(nil)
		w.during(minute)
		w.wantDrills(at("db", 5*hour))
	})
}
