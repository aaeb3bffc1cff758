package daemon_test

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/ledger"
)

func TestAnEngineThatCannotBeReachedIsAskedWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "0 3 * * *"))
		w.finder.fail(engine.ErrUnreachable)
		w.events.broke(engine.ErrUnreachable)
		stop := w.start()
		time.Sleep(hour)
		if n := w.finder.count(); n < 60 || n > 200 {
			t.Errorf("the engine was asked %d times in an hour", n)
		}
		if n := w.log.count("WARN the engine's events broke off"); n != 1 {
			t.Errorf("it was told %d times that the events broke off, want once", n)
		}
		stop()
	})
}

func TestRunsAreMadeUpWhenTheEngineIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "0 3 * * *"), volume(t, "app", "30 3 * * *"))
		stop := w.start()
		time.Sleep(2 * hour)
		w.finder.fail(engine.ErrUnreachable)
		time.Sleep(2 * hour)
		w.wantRuns()
		w.finder.fail(nil)
		time.Sleep(time.Minute)
		if len(w.runner.done()) != 2 {
			t.Errorf("runs a minute after the engine is back: %v, want one of each volume", w.runner.done())
		}
		if n := w.log.count("INFO volumes are discovered again"); n != 1 {
			t.Errorf("it was told %d times that the engine is back, want once", n)
		}
		stop()
	})
}

func TestHoweverMuchHappensTheEngineIsAskedOnceInASecond(t *testing.T) {
	for name, err := range map[string]error{"an engine that answers": nil, "an engine that does not": engine.ErrUnreachable} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, volume(t, "db", "@daily"))
				w.finder.fail(err)
				stop := w.start()
				for range 1000 {
					w.events.tell(streamed{event: engine.Event{Type: "container", Action: "start", Time: time.Now()}})
					time.Sleep(10 * time.Millisecond)
				}
				stop()
				if n := w.finder.count(); n < 10 || n > 12 {
					t.Errorf("the engine was asked %d times in ten seconds", n)
				}
			})
		})
	}
}

func TestWhatHappensInTheEngineIsSeenAtOnce(t *testing.T) {
	tests := map[string]struct {
		event engine.Event
		seen  bool
	}{
		"a container was made":    {engine.Event{Type: "container", Action: "create"}, true},
		"a container was removed": {engine.Event{Type: "container", Action: "destroy"}, true},
		"a container started":     {engine.Event{Type: "container", Action: "start"}, true},
		"a container was renamed": {engine.Event{Type: "container", Action: "rename"}, true},
		"a volume was made":       {engine.Event{Type: "volume", Action: "create"}, true},
		"a volume was removed":    {engine.Event{Type: "volume", Action: "destroy"}, true},
		"a check of health":       {engine.Event{Type: "container", Action: "exec_start: true"}, false},
		"a network was made":      {engine.Event{Type: "network", Action: "create"}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				stop := w.start()
				time.Sleep(10 * time.Second)
				before := w.finder.count()
				w.events.tell(streamed{event: test.event})
				if seen := w.finder.count() > before; seen != test.seen {
					t.Errorf("the engine was asked: %v, want %v", seen, test.seen)
				}
				stop()
			})
		})
	}
}

func TestEventsAreTakenUpAgainWhereTheyBrokeOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		last := time.Now().Add(time.Hour)
		time.Sleep(time.Hour)
		w.events.tell(streamed{event: engine.Event{Type: "container", Action: "exec_die", Time: last}})
		time.Sleep(30 * time.Second)
		before := w.finder.count()
		w.events.tell(streamed{err: errors.New("connection reset")})
		time.Sleep(2 * time.Second)
		stop()
		if since := w.events.since; len(since) != 2 || !since[0].Equal(w.began) || !since[1].Equal(last) {
			t.Errorf("events were asked for since %v, want %v and then %v", since, w.began, last)
		}
		if w.finder.count() == before {
			t.Error("the engine was not asked what had happened meanwhile")
		}
	})
}

func TestARunThatCannotBeRememberedIsNotBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "0 3 * * *"))
		stop := w.start()
		time.Sleep(2 * hour)
		if err := os.Rename(w.state, w.state+".away"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(hour + 2*minute)
		w.wantRuns()
		if n := w.log.count("ERROR a run that cannot be remembered is not begun", w.state); n != 2 {
			t.Errorf("it was told %d times in two minutes, want 2", n)
		}
		if err := os.Rename(w.state+".away", w.state); err != nil {
			t.Fatal(err)
		}
		time.Sleep(hour)
		stop()
		w.wantRuns(at("db", 3*hour+6*minute))
	})
}

func TestAnEndThatCannotBeRememberedRepeatsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "db", "0 3 * * *"))
		w.runner.takes = map[string]time.Duration{"db": 10 * minute}
		stop := w.start()
		time.Sleep(3*hour + 5*minute)
		if err := os.Rename(w.state, w.state+".away"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * hour)
		if n := w.log.count("ERROR the end of a run cannot be remembered"); n != 1 {
			t.Errorf("it was told %d times, want once", n)
		}
		stop()
		w.wantRuns(at("db", 3*hour))
	})
}

func TestVolumesLongGoneAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volume(t, "stays", "@yearly"), volume(t, "goes", "@daily"))
		w.remember(func(s *ledger.State) {
			for i := range 1000 {
				s.Seen(fmt.Sprintf("anonymous-%d", i), w.began.Add(-40*day))
			}
		})
		stop := w.start()
		time.Sleep(hour)
		if known := w.remembered(); len(known) != 2 {
			t.Errorf("%d volumes are remembered, want the 2 that there are", len(known))
		}
		w.finder.set(volume(t, "stays", "@yearly"))
		time.Sleep(29 * day)
		if _, known := w.remembered()["goes"]; !known {
			t.Error("a volume that has been gone for 29 days is forgotten")
		}
		time.Sleep(2 * day)
		stop()
		known := w.remembered()
		if _, still := known["goes"]; still || !known["stays"].FirstSeen.Equal(w.began) {
			t.Errorf("remembered after 31 days: %v, want the volume that stayed", known)
		}
	})
}
