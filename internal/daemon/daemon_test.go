package daemon_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/snapshot"
)

const (
	minute = time.Minute
	hour   = time.Hour
	day    = 24 * hour
)

func (w *world) wantRuns(want ...run) {
	w.t.Helper()
	wantSame(w.t, want, w.runner.done())
}

func wantSame(t *testing.T, want, got []run) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(run{}), cmpopts.EquateEmpty()); diff != "" {
		t.Error("runs (-want +got):\n" + diff)
	}
}

func TestVolumesRunAtTheirTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "0 3 * * *"), volume(t, "app", "@every 9h"))
		w.during(2 * day)
		w.wantRuns(at("db", 3*hour), at("app", 9*hour), at("app", 18*hour), at("db", day+3*hour), at("app", day+3*hour), at("app", day+12*hour),
			at("app", day+21*hour))
	})
}

func TestARunThatWasMissedIsMadeUpOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "0 3 * * *"))
		w.during(12 * hour)
		time.Sleep(4 * day)
		w.during(day)
		w.wantRuns(at("db", 3*hour), at("db", 4*day+12*hour), at("db", 5*day+3*hour))
	})
}

func TestEveryCountsFromTheLastRunAcrossRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "@every 24h"))
		for range 10 {
			w.during(7 * hour)
		}
		w.wantRuns(at("db", 24*hour), at("db", 48*hour))
	})
}

func TestANewVolumeRunsAtItsNextTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		time.Sleep(5 * hour)
		w.finder.set(volume(t, "db", "0 3 * * *"))
		time.Sleep(hour)
		w.wantRuns()
		time.Sleep(day)
		stop()
		w.wantRuns(at("db", day+3*hour))
	})
}

func TestARunThatFailsIsTriedAgainAndThenWaitsForItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "0 3 * * *"))
		w.runner.takes = map[string]time.Duration{"db": 10 * minute}
		w.runner.fails = always
		w.during(day + 5*hour)
		w.wantRuns(at("db", 3*hour), at("db", 3*hour+11*minute), at("db", 3*hour+26*minute), at("db", 3*hour+51*minute),
			at("db", day+3*hour), at("db", day+3*hour+11*minute), at("db", day+3*hour+26*minute), at("db", day+3*hour+51*minute))
		if n := w.log.count("ERROR backup failed", "volume=db", errBroken.Error()); n != 8 {
			t.Errorf("%d failures were logged, want 8", n)
		}
	})
}

// What is suspect is so when it is read again at once; what is empty may be mounted by then, and costs nothing.
func TestARunThatIsSuspectWaitsForItsTimeUnlessTheVolumeIsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "0 3 * * *"))
		full, empty := snapshot.Contents{Entries: 40}, snapshot.Contents{Entries: 1}
		w.runner.doubt = map[int]snapshot.Contents{0: full, 1: empty, 2: empty, 3: full}
		w.during(3*day + 5*hour)
		w.wantRuns(at("db", 3*hour), at("db", day+3*hour), at("db", day+3*hour+minute), at("db", day+3*hour+6*minute), at("db", 2*day+3*hour), at("db", 3*day+3*hour))
		if n := w.log.count("ERROR backup failed", "volume=db", errBroken.Error()); n != 4 {
			t.Errorf("%d failures were logged, want 4", n)
		}
		if got := w.remembered()["db"]; got.Failures != 0 || got.Settled {
			t.Errorf("remembered as failed: %+v", got)
		}
	})
}

func TestARunThatWorksEndsTheTrying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "0 3 * * *"))
		w.runner.fails = func(_ string, run int) error {
			if run == 0 {
				return errBroken
			}
			return nil
		}
		w.during(day)
		w.wantRuns(at("db", 3*hour), at("db", 3*hour+minute))
		if got := w.remembered()["db"]; got.Failures != 0 || got.LastError != "" {
			t.Errorf("remembered as failed: %+v", got)
		}
	})
}

func TestARunThatACrashCutOffIsMadeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "0 3 * * *"))
		w.runner.takes = map[string]time.Duration{"db": 10 * minute}
		w.crash(3*hour + 5*minute)
		w.during(day)
		w.wantRuns(at("db", 3*hour), at("db", 3*hour+5*minute), at("db", day+3*hour))
	})
}

func TestAVolumeWhoseEveryRunCrashesIsNotRunForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "0 3 * * *"))
		w.runner.takes = map[string]time.Duration{"db": 10 * minute}
		w.during(2*hour + 58*minute)
		for range 60 {
			w.crash(7 * minute) // whoever supervises it starts it again at once
		}
		w.wantRuns(at("db", 3*hour), at("db", 3*hour+5*minute), at("db", 3*hour+12*minute), at("db", 3*hour+27*minute))
	})
}

func TestVolumesThatShareAContainerRunAsOneJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "data", "0 3 * * *", "c1"), volume(t, "logs", "0 3 * * *", "c1", "c2"), volume(t, "other", "0 3 * * *", "c3"))
		w.during(4 * hour)
		if diff := cmp.Diff([][]string{{"data", "logs"}, {"other"}}, w.runner.jobs); diff != "" {
			t.Error("jobs (-want +got):\n" + diff)
		}
	})
}

func TestParallelCountsJobs(t *testing.T) {
	volumes := func(t *testing.T) []plan.Volume {
		return []plan.Volume{
			volume(t, "a", "0 3 * * *", "c1"), volume(t, "b", "0 3 * * *", "c1"), volume(t, "c", "0 3 * * *"), volume(t, "d", "0 3 * * *"),
		}
	}
	tests := map[string]struct {
		parallel int
		want     []run
	}{
		"one": {1, []run{at("a", 3*hour), at("b", 3*hour), at("c", 4*hour), at("d", 5*hour)}},
		"two": {2, []run{at("a", 3*hour), at("b", 3*hour), at("c", 3*hour), at("d", 4*hour)}},
		"ten": {10, []run{at("a", 3*hour), at("b", 3*hour), at("c", 3*hour), at("d", 3*hour)}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, volumes(t)...)
				w.parallel = test.parallel
				w.runner.takes = map[string]time.Duration{"a": hour, "b": hour, "c": hour, "d": hour}
				w.during(day)
				got := w.runner.done()
				slices.SortFunc(got, byTimeAndVolume)
				wantSame(t, test.want, got)
				if w.runner.most > test.parallel {
					t.Errorf("%d jobs at the same time", w.runner.most)
				}
			})
		})
	}
}

func TestAVolumeThatIsDueAllTheTimeLeavesOthersTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "busy", "@every 1m"), volume(t, "calm", "0 3 * * *"))
		w.runner.takes = map[string]time.Duration{"busy": 7 * minute}
		w.during(4 * hour)
		calm := 0
		for _, r := range w.runner.done() {
			if r.volume == "calm" {
				calm++
			}
		}
		if calm != 1 {
			t.Errorf("the other volume was run %d times, want 1", calm)
		}
	})
}

func TestARunThatTakesLongerThanItsPeriodIsFollowedByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "0 * * * *"))
		w.runner.takes = map[string]time.Duration{"db": 150 * minute}
		w.during(8 * hour)
		w.wantRuns(at("db", hour), at("db", 3*hour+30*minute), at("db", 6*hour))
	})
}

func TestWhatIsRefusedNeverRunsAndIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := volume(t, "db", "0 3 * * *")
		bad.Refused = true
		bad.Problems = []plan.Problem{{Setting: "backupd.targets", Text: "no target is left"}}
		w := newWorld(t, bad)
		stop := w.start()
		time.Sleep(2 * day)
		w.wantRuns()
		if n := w.log.count("WARN", "volume=db", "no target is left"); n != 1 {
			t.Errorf("the problem was told %d times in two days, want once", n)
		}
		w.finder.set(volume(t, "db", "0 3 * * *")) // mended
		time.Sleep(day)
		w.finder.set(bad)
		time.Sleep(hour)
		stop()
		w.wantRuns(at("db", 2*day+3*hour))
		if n := w.log.count("WARN", "volume=db", "no target is left"); n != 2 {
			t.Errorf("the problem was told %d times, want once more after it came back", n)
		}
	})
}

func TestAPanicEndsNoMoreThanItsJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "bad", "0 3 * * *"), volume(t, "good", "0 3 * * *"))
		w.runner.fails = func(volume string, _ int) error {
			if volume == "bad" {
				panic("out of range")
			}
			return nil
		}
		w.during(3*hour + 10*minute)
		w.wantRuns(at("bad", 3*hour), at("good", 3*hour), at("bad", 3*hour+minute), at("bad", 3*hour+6*minute))
		if n := w.log.count("ERROR a job panicked", "out of range", "stack="); n != 3 {
			t.Errorf("%d panics were told, want 3", n)
		}
		if got := w.remembered()["bad"]; got.LastError != "panic: out of range" || got.Failures != 3 {
			t.Errorf("remembered as %+v", got)
		}
	})
}

func TestAnEndThatIsAskedForCutsRunsOffAndTheyAreMadeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "0 3 * * *"), volume(t, "app", "0 3 * * *"), volume(t, "waits", "0 3 * * *"))
		w.parallel = 2
		w.runner.takes = map[string]time.Duration{"db": 2 * hour, "app": 2 * hour}
		w.runner.letGo = 20 * time.Second
		w.during(4 * hour) // world.start looks at how it ends
		ended := 4*hour + w.runner.letGo
		w.during(4 * hour)
		got := w.runner.done()
		slices.SortFunc(got, byTimeAndVolume)
		wantSame(t, []run{
			at("app", 3*hour), at("db", 3*hour), // cut off
			at("waits", ended), at("app", ended+minute), at("db", ended+minute),
		}, got)
	})
}

func TestClockJumps(t *testing.T) {
	tests := map[string]struct {
		spec string
		jump time.Duration // at noon of the second day
		want []run         // by the clock that does not jump
	}{
		"a week ahead": {"0 3 * * *", 7 * day, []run{at("db", 3*hour), at("db", day+3*hour), at("db", day+12*hour), at("db", 2*day+3*hour)}},
		"an hour back": {"0 11,12,13 * * *", -hour, []run{at("db", 11*hour), at("db", 12*hour), at("db", 13*hour),
			at("db", day+11*hour), at("db", day+13*hour), at("db", day+14*hour), at("db", 2*day+12*hour), at("db", 2*day+13*hour), at("db", 2*day+14*hour)}},
		"ten hours back":   {"0 3 * * *", -10 * hour, []run{at("db", 3*hour), at("db", day+3*hour), at("db", 2*day+13*hour)}},
		"a month back":     {"0 3 * * *", -30 * day, []run{at("db", 3*hour), at("db", day+3*hour), at("db", day+12*hour), at("db", 2*day+3*hour)}},
		"every, days back": {"@every 24h", -3 * day, []run{at("db", day), at("db", day+12*hour), at("db", 2*day+12*hour)}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, volume(t, "db", test.spec))
				stop := w.start()
				time.Sleep(day + 12*hour - time.Second)
				w.clock.jump(test.jump)
				time.Sleep(day + 6*hour)
				stop()
				// A jump is noticed within a minute.
				rounded := make([]run, len(w.runner.done()))
				for i, r := range w.runner.done() {
					rounded[i] = at(r.volume, r.at.Round(5*minute))
				}
				wantSame(t, test.want, rounded)
			})
		})
	}
}
