package daemon_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/schedule"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/verify"
)

// verifier notes goes at rounds instead of doing them. A go reads in pieces of a minute.
type verifier struct {
	world *world
	spec  schedule.Spec
	takes time.Duration
	does  func(n int) ([]verify.Outcome, error) // by the number of the go, from 0; nil for a sound snapshot

	mu    sync.Mutex
	goes  []run // of volume ""
	since []time.Duration
	ended []time.Duration
}

func (v *verifier) Round(ctx context.Context, began time.Time, giveWay func(), tell func(verify.Outcome)) error {
	v.mu.Lock()
	n := len(v.goes)
	v.goes, v.since = append(v.goes, at("", time.Since(v.world.began))), append(v.since, began.Sub(v.world.began))
	v.mu.Unlock()
	for done := time.Duration(0); done < v.takes; done += minute {
		giveWay()
		select {
		case <-time.After(minute):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	v.mu.Lock()
	v.ended = append(v.ended, time.Since(v.world.began))
	v.mu.Unlock()
	if v.does == nil {
		tell(outcome(verify.Sound))
		return nil
	}
	outcomes, err := v.does(n)
	for _, o := range outcomes {
		tell(o)
	}
	return err
}

func outcome(verdict verify.Verdict) verify.Outcome {
	o := verify.Outcome{Target: "near", Snapshot: catalog.Snapshot{Manifest: snapshot.Manifest{ID: "some", Volume: "db"}}}
	o.Verdict = verdict
	if verdict != verify.Sound {
		o.Err = errBroken
	}
	return o
}

func (w *world) verifies(t *testing.T, spec string) {
	t.Helper()
	var err error
	if w.verifier.spec, err = schedule.Parse(spec); err != nil {
		t.Fatal(err)
	}
}

func (w *world) wantRounds(want ...run) {
	w.t.Helper()
	wantSame(w.t, want, w.verifier.goes)
}

func TestWhatIsStoredIsVerifiedOnASchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t) // on a Saturday
		w.verifies(t, "@weekly")
		w.during(3 * hour) // no round at the first start
		w.during(8 * day)
		w.wantRounds(at("", day), at("", 8*day))
		time.Sleep(20 * day)
		w.during(hour)
		w.wantRounds(at("", day), at("", 8*day), at("", 28*day+3*hour)) // made up once
	})
}

func TestVerifyingTakesNoEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.verifies(t, "0 5 * * *")
		w.finder.fail(engine.ErrUnreachable)
		w.during(day)
		w.wantRounds(at("", 5*hour))
	})
}

func TestARoundThatIsCutOffIsGoneOnWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.verifies(t, "0 3 * * 0")
		w.verifier.takes = 2 * hour
		w.during(day + 4*hour)
		w.during(4 * hour)
		w.wantRounds(at("", day+3*hour), at("", day+4*hour+minute))
		if diff := cmp.Diff([]time.Duration{day + 3*hour, day + 3*hour}, w.verifier.since); diff != "" {
			t.Error("the goes are at rounds that began at (-want +got):\n" + diff)
		}
		if r := w.round(); !r.Ended.After(r.Began) || r.Goes != 0 {
			t.Errorf("remembered as %+v", r)
		}
	})
}

func TestARoundThatCrashesIsNotRepeatedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.verifies(t, "0 3 * * 0")
		w.verifier.takes = hour
		w.during(day + 3*hour - minute)
		for range 40 {
			w.crash(7 * minute)
		}
		if n := len(w.verifier.goes); n != 4 {
			t.Errorf("%d goes, want 4", n)
		}
	})
}

func TestARoundThatCouldNotReadAllIsTriedAgain(t *testing.T) {
	for name, test := range map[string]struct {
		does func(n int) ([]verify.Outcome, error)
		want []run
	}{
		"for ever":      {func(int) ([]verify.Outcome, error) { return nil, errBroken }, []run{at("", 3*hour), at("", 3*hour+minute), at("", 3*hour+6*minute), at("", 3*hour+21*minute)}},
		"of a snapshot": {func(int) ([]verify.Outcome, error) { return []verify.Outcome{outcome(verify.Unread)}, nil }, []run{at("", 3*hour), at("", 3*hour+minute), at("", 3*hour+6*minute), at("", 3*hour+21*minute)}},
		"by a bug":      {func(int) ([]verify.Outcome, error) { panic("out of range") }, []run{at("", 3*hour), at("", 3*hour+minute), at("", 3*hour+6*minute), at("", 3*hour+21*minute)}},
		"once": {func(n int) ([]verify.Outcome, error) {
			if n == 0 {
				return []verify.Outcome{outcome(verify.Sound)}, errBroken
			}
			return nil, nil
		}, []run{at("", 3*hour), at("", 3*hour+minute)}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.verifies(t, "0 3 * * *")
				w.verifier.does = test.does
				w.during(day)
				w.wantRounds(test.want...)
			})
		})
	}
}

func TestBackupsDoNotWaitForVerifyingWhichWaitsForThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "30 3 * * *"))
		w.verifies(t, "0 3 * * *")
		w.verifier.takes = hour
		w.runner.takes = map[string]time.Duration{"db": 20 * minute}
		w.during(6 * hour)
		w.wantRuns(at("db", 3*hour+30*minute))
		if got := w.verifier.ended; len(got) != 1 || got[0].Round(2*minute) != 4*hour+20*minute {
			t.Errorf("it ended at %v, want 4h20m", got)
		}
	})
}

func TestVerifyingDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "30 3 * * *"))
		w.verifies(t, "0 3 * * *")
		w.verifier.takes = hour
		w.runner.takes = map[string]time.Duration{"db": 20 * hour}
		w.during(12 * hour)
		if got := w.verifier.ended; len(got) != 1 || got[0].Round(2*minute) != 5*hour {
			t.Errorf("it ended at %v, want 5h", got)
		}
	})
}

func TestAnEndThatIsAskedForDoesNotWaitForVerifying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "30 3 * * *"))
		w.verifies(t, "0 3 * * *")
		w.verifier.takes = 10 * hour
		w.runner.takes = map[string]time.Duration{"db": 20 * hour}
		w.during(3*hour + 40*minute) // world.start looks at how it ends
	})
}

func TestDamageIsToldLoudly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.verifies(t, "0 3 * * *")
		w.verifier.does = func(int) ([]verify.Outcome, error) { return []verify.Outcome{outcome(verify.Damaged)}, nil }
		w.during(4 * hour)
		if n := w.log.count("ERROR a stored snapshot is DAMAGED", "volume=db", "snapshot=some", "target=near", errBroken.Error(), "hint="); n != 1 {
			t.Errorf("it was told %d times", n)
		}
		w.wantRounds(at("", 3*hour))
	})
}
