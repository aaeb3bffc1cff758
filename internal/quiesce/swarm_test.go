package quiesce_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/snapshot"
)

func stop(readers bool) quiesce.Request {
	return quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Stop, Readers: readers, Limit: time.Hour}
}

func TestAServiceIsScaledToNothingAndBack(t *testing.T) {
	for _, readers := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, container("db", writes))
			w.addService()
			h, err := w.keeper().Hold(t.Context(), stop(readers))
			must(t, err)
			if running, ended := w.tasks(t, "s1"); running != 0 || ended != 2 {
				t.Errorf("while held %d tasks run and %d have ended", running, ended)
			}
			time.Sleep(time.Minute)
			report, err := h.Release(t.Context())
			must(t, err)
			if report.Grade != snapshot.Cold {
				t.Errorf("grade %s: %q", report.Grade, report.Reasons)
			}
			if !slices.ContainsFunc(report.Held, func(h snapshot.Held) bool { return h.Container == "shop" && h.Milliseconds >= 63_000 }) {
				t.Errorf("held %v", report.Held)
			}
			time.Sleep(w.Dispatch)
			synctest.Wait()
			if running, ended := w.tasks(t, "s1"); running != 2 || ended != 2 {
				t.Errorf("afterwards %d tasks run and %d have ended", running, ended)
			}
		})
	}
}

func TestATaskIsPausedLikeAnyContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.addService()
		w.NoManager(true) // of which a pause asks nothing
		h, err := w.keeper().Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause})
		must(t, err)
		report, err := h.Release(t.Context())
		must(t, err)
		if report.Grade != snapshot.Frozen || len(report.Held) != 2 {
			t.Errorf("grade %s: %q, held %v", report.Grade, report.Reasons, report.Held)
		}
		if running, ended := w.tasks(t, "s1"); running != 2 || ended != 0 {
			t.Errorf("afterwards %d tasks run and %d have ended", running, ended)
		}
	})
}

// What cannot be scaled is refused before anything is touched, and with the reason.
func TestRefusalToStopTasks(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(*world)
		err     string
	}{
		"a worker":         {func(w *world) { w.addService(); w.NoManager(true) }, "not (or not yet) a working manager"},
		"a global one":     {func(w *world) { addGlobal(w) }, `"agent" (global), which cannot be scaled`},
		"one among others": {func(w *world) { w.addService(); addGlobal(w) }, `"agent" (global), which cannot be scaled`},
	} {
		for _, readers := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, readers %v", name, readers), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, container("a", writes))
					tt.prepare(w)
					w.Faults = &faulttest.Injector{}
					_, err := w.keeper().Hold(t.Context(), stop(readers))
					if err == nil || !strings.Contains(err.Error(), tt.err) {
						t.Errorf("error %v, want one with %q", err, tt.err)
					}
					for _, call := range w.Faults.Calls() {
						if !strings.HasPrefix(call, "list ") && !strings.HasPrefix(call, "inspect ") && call != "follow events" {
							t.Errorf("it was called to %s", call)
						}
					}
				})
			})
		}
	}
}

func addGlobal(w *world) {
	w.AddService(engine.Service{ID: "g1", Name: "agent", Kind: engine.Global}, taskOf(writes))
}

// The old count is put back only where nobody has set another since.
func TestACountIsPutBackOnlyFromNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		do    func(*testing.T, *world)
		grade snapshot.Grade
		want  uint64
	}{
		"nobody came":           {func(*testing.T, *world) {}, snapshot.Cold, 2},
		"an operator scaled up": {func(t *testing.T, w *world) { must(t, w.operator.Scale(t.Context(), "s1", 0, 5)) }, snapshot.Fuzzy, 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.addService()
				h, err := w.keeper().Hold(t.Context(), stop(false))
				must(t, err)
				tt.do(t, w)
				time.Sleep(time.Minute)
				report, err := h.Release(t.Context())
				must(t, err)
				if now, err := w.operator.Service(t.Context(), "s1"); err != nil || now.Replicas != tt.want {
					t.Errorf("it should have %d tasks, %v, want %d", now.Replicas, err, tt.want)
				}
				if report.Grade != tt.grade {
					t.Errorf("grade %s: %q", report.Grade, report.Reasons)
				}
			})
		})
	}
}

// Somebody else may scale the service at the same moment. What they wanted stays.
func TestSomebodyElseScalesFirst(t *testing.T) {
	for _, theirs := range []uint64{0, 3} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.addService()
			w.beforeScale = func() { must(t, w.operator.Scale(t.Context(), "s1", 2, theirs)) }
			h, err := w.keeper().Hold(t.Context(), stop(false))
			must(t, err)
			if running, _ := w.tasks(t, "s1"); running != 0 {
				t.Errorf("%d tasks run while held", running)
			}
			_, err = h.Release(t.Context())
			must(t, err)
			if now, err := w.operator.Service(t.Context(), "s1"); err != nil || now.Replicas != theirs {
				t.Errorf("it should have %d tasks, %v, want %d", now.Replicas, err, theirs)
			}
		})
	}
}

// A service that is removed while it is held needs nothing, and an engine that has yet to find its swarm again is waited for.
func TestLettingGoOfAService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.addService()
		h, err := w.keeper().Hold(t.Context(), stop(false))
		must(t, err)
		w.NoManager(true)
		time.AfterFunc(90*time.Second, func() { w.NoManager(false) })
		_, err = h.Release(t.Context())
		must(t, err)
		if now, err := w.operator.Service(t.Context(), "s1"); err != nil || now.Replicas != 2 {
			t.Errorf("it should have %d tasks, %v", now.Replicas, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.addService()
		h, err := w.keeper().Hold(t.Context(), stop(false))
		must(t, err)
		w.RemoveService("s1")
		report, err := h.Release(t.Context())
		must(t, err)
		if report.Grade != snapshot.Cold {
			t.Errorf("grade %s: %q", report.Grade, report.Reasons)
		}
	})
}

// A scaling whose answer never came may take effect after it was given up.
func TestLateScaling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.addService()
		w.lateScale = 3 * time.Second
		_, err := w.keeper().Hold(t.Context(), stop(false))
		if !errors.Is(err, engine.ErrUnreachable) {
			t.Fatalf("hold: %v", err)
		}
		time.Sleep(time.Minute)
		if running, _ := w.tasks(t, "s1"); running != 2 {
			t.Errorf("%d tasks run", running)
		}
	})
}

// A task that is held for another volume keeps its service from being scaled, although its own volume is none of that.
func TestAServiceWaitsForItsHeldTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, container("1", writes, task), container("2", binds("/elsewhere"), task))
		w.AddService(engine.Service{ID: "s1", Name: "shop", Replicas: 2}, taskOf())
		k := w.keeper()
		other := engine.Volume{Name: "other", Mountpoint: "/elsewhere"}
		first, err := k.Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{other}, Mode: quiesce.Pause})
		must(t, err)
		time.AfterFunc(time.Minute, func() {
			report, err := first.Release(t.Context())
			must(t, err)
			if report.Grade != snapshot.Frozen {
				t.Errorf("grade %s: %q", report.Grade, report.Reasons)
			}
		})
		begun := time.Now()
		second, err := k.Hold(t.Context(), stop(false))
		must(t, err)
		if waited := time.Since(begun); waited < time.Minute {
			t.Errorf("it was scaled after %s", waited)
		}
		_, err = second.Release(t.Context())
		must(t, err)
	})
}

// What a journal says is enough to put the count back in another process.
func TestRecoverPutsTheCountBack(t *testing.T) {
	for name, tt := range map[string]struct{ now, want uint64 }{"from nothing": {0, 2}, "not what an operator wants since": {3, 3}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.addService()
				h, err := w.keeper().Hold(t.Context(), stop(false))
				must(t, err)
				left := t.TempDir()
				must(t, os.CopyFS(left, os.DirFS(w.dir)))
				if tt.now > 0 {
					must(t, w.operator.Scale(t.Context(), "s1", 0, tt.now))
				}
				dead := quiesce.New(w, quiesce.Options{Dir: left, Engine: "engine", Now: time.Now})
				resumed, err := dead.Recover(t.Context())
				must(t, err)
				if want := map[bool][]string{true: {"shop"}}[tt.now == 0]; !slices.Equal(resumed, want) {
					t.Errorf("resumed %q, want %q", resumed, want)
				}
				if now, err := w.operator.Service(t.Context(), "s1"); err != nil || now.Replicas != tt.want {
					t.Errorf("it should have %d tasks, %v, want %d", now.Replicas, err, tt.want)
				}
				_, err = h.Release(t.Context())
				must(t, err)
			})
		})
	}
}
