package daemon_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/gaps"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/snapshot"
)

// filler notes goes at filling instead of doing them.
type filler struct {
	world *world
	takes time.Duration
	does  func(n int) ([]gaps.Copy, error) // by the number of the go, from 0; nil for all that there is

	mu     sync.Mutex
	goes   []run
	limits []gaps.Limits
}

func (f *filler) Fill(ctx context.Context, v plan.Volume, l gaps.Limits) ([]gaps.Copy, error) {
	f.mu.Lock()
	n := len(f.goes)
	f.goes, f.limits = append(f.goes, run{v.Name, time.Since(f.world.began)}), append(f.limits, l)
	f.mu.Unlock()
	if f.world.runner.open > 0 && f.world.parallel == 1 {
		f.world.t.Errorf("volume %s is filled while a job runs", v.Name)
	}
	select {
	case <-time.After(f.takes):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if f.does == nil {
		return []gaps.Copy{copied(nil)}, nil
	}
	return f.does(n)
}

func copied(err error) gaps.Copy {
	return gaps.Copy{Target: "far", Snapshot: catalog.Snapshot{Manifest: snapshot.Manifest{ID: "some"}}, Source: "near", Err: err}
}

// until fails all goes before one.
func until(good int) func(n int) ([]gaps.Copy, error) {
	return func(n int) ([]gaps.Copy, error) {
		if n < good {
			return []gaps.Copy{copied(errBroken)}, nil
		}
		return []gaps.Copy{copied(nil)}, nil
	}
}

func (w *world) wantFills(want ...run) {
	w.t.Helper()
	wantSame(w.t, want, w.filler.goes)
}

func TestATargetThatMissedIsFilledAndTheVolumeNotReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "0 3 * * *"))
		w.runner.lost = map[int]bool{0: true}
		w.filler.does = until(1)
		w.during(12 * hour)
		w.wantRuns(at("db", 3*hour))
		w.wantFills(at("db", 3*hour+minute), at("db", 3*hour+6*minute))
		taken := w.began.Add(3 * hour).UTC()
		want := gaps.Limits{To: []string{"far"}, Since: map[string]time.Time{"far": taken}, Most: 4}
		if diff := cmp.Diff(want, w.filler.limits[0]); diff != "" {
			t.Error("limits (-want +got):\n" + diff)
		}
		if got := w.remembered()["db"]; got.Missed != nil || got.Fills != 0 || !got.NextFill.IsZero() || got.Failures != 0 {
			t.Errorf("remembered: %+v", got)
		}
	})
}

func TestFillingIsTriedThreeTimesForEachRun(t *testing.T) {
	for name, does := range map[string]func(n int) ([]gaps.Copy, error){
		"when the target fails": until(1000), "when all of it fails": func(int) ([]gaps.Copy, error) { return nil, errBroken },
		"when a target cannot be asked": func(int) ([]gaps.Copy, error) { return []gaps.Copy{{Target: "third", Err: errBroken}}, nil },
		"when there is a bug":           func(int) ([]gaps.Copy, error) { panic("out of range") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, volume(t, "db", "0 3 * * *"))
				w.runner.lost = map[int]bool{0: true}
				w.filler.does = does
				w.during(day + 2*hour)
				w.during(2 * hour) // now the target takes part again
				w.wantRuns(at("db", 3*hour), at("db", day+3*hour))
				w.wantFills(at("db", 3*hour+minute), at("db", 3*hour+6*minute), at("db", 3*hour+21*minute),
					at("db", day+3*hour), at("db", day+3*hour+5*minute), at("db", day+3*hour+20*minute))
			})
		})
	}
}

func TestWhereAnyTargetIsEnoughFillingWaitsForARunThatReachesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "0 3 * * *"))
		w.any = true
		w.runner.lost = map[int]bool{0: true, 1: true}
		w.during(2*day + 12*hour)
		w.wantRuns(at("db", 3*hour), at("db", day+3*hour), at("db", 2*day+3*hour))
		w.wantFills(at("db", 2*day+3*hour))
		if since := w.filler.limits[0].Since["far"]; !since.Equal(w.began.Add(3 * hour)) {
			t.Errorf("filled since %v", since)
		}
		if n := w.log.count("ERROR", "backup failed"); n > 0 {
			t.Errorf("%d runs failed", n)
		}
		if n := w.log.count("WARN a target missed the snapshot", "target=far", errBroken.Error()); n != 2 {
			t.Errorf("of the missed target it was told %d times, want 2", n)
		}
	})
}

func TestAFillThatCameToItsBoundGoesOnButARunComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "0 * * * *"))
		w.runner.lost = map[int]bool{0: true}
		w.filler.takes = 25 * minute
		w.filler.does = func(n int) ([]gaps.Copy, error) {
			if n < 4 {
				return []gaps.Copy{copied(nil), copied(nil), copied(nil), copied(nil)}, nil
			}
			return nil, nil
		}
		w.during(4*hour + 30*minute)
		w.wantFills(at("db", hour+minute), at("db", hour+26*minute), at("db", hour+51*minute), at("db", 2*hour+16*minute), at("db", 2*hour+41*minute))
		w.wantRuns(at("db", hour), at("db", 2*hour+16*minute), at("db", 3*hour+6*minute), at("db", 4*hour))
	})
}

func TestWhatSharesARunIsNotRunWithoutWhatIsFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "data", "0 * * * *", "c1"), volume(t, "logs", "0 * * * *", "c1"))
		w.parallel = 2
		w.runner.lost = map[int]bool{0: true}
		w.filler.takes = 40 * minute
		w.during(2*hour + 30*minute)
		if diff := cmp.Diff([][]string{{"data", "logs"}, {"data", "logs"}}, w.runner.jobs); diff != "" {
			t.Error("jobs (-want +got):\n" + diff)
		}
	})
}

func TestAFillThatACrashCutOffIsNotRepeatedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "0 3 * * *"))
		w.runner.lost = map[int]bool{0: true}
		w.filler.takes = hour
		w.during(3*hour + 30*time.Second)
		for range 20 {
			w.crash(7 * minute)
		}
		if n := len(w.filler.goes); n != 3 {
			t.Errorf("%d goes, want 3", n)
		}
	})
}
