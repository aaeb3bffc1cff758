package quiesce_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/enginetest"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/snapshot"
)

type states = map[string]engine.State

// shop is an app that needs a database; both write to the volume, and a third container only reads.
func shop() []engine.Container {
	return []engine.Container{
		container("app", writes, service("db:service_healthy:false")), container("db", writes, service("")), container("viewer", reads),
		container("old", writes, in(engine.Exited)),
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func TestHold(t *testing.T) {
	running := states{"app": engine.Running, "db": engine.Running, "viewer": engine.Running, "old": engine.Exited}
	with := func(id string, s engine.State) states {
		changed := states{id: s}
		for other, state := range running {
			if other != id {
				changed[other] = state
			}
		}
		return changed
	}
	successor := func(s engine.State) engine.Container {
		c := container("db", writes, service(""), in(s))
		c.ID = "id-db-2"
		return c
	}

	for name, tt := range map[string]struct {
		mode   quiesce.Mode
		shop   []engine.Container // shop() unless given
		blind  bool
		during func(t *testing.T, w *world) // while the hold stands
		held   states                       // then; unchecked unless given
		grade  snapshot.Grade
		reason string // why it is fuzzy
		lost   bool
		after  states // running unless given
	}{
		"paused throughout is frozen": {mode: "pause", grade: snapshot.Frozen,
			held: states{"app": engine.Paused, "db": engine.Paused, "viewer": engine.Running, "old": engine.Exited}},
		"stopped throughout is cold": {mode: "stop", grade: snapshot.Cold,
			held: states{"app": engine.Exited, "db": engine.Exited, "viewer": engine.Running, "old": engine.Exited}},
		"nothing that could write is cold": {mode: "pause", grade: snapshot.Cold,
			shop: []engine.Container{container("a", reads)}, after: states{"a": engine.Running}},
		"stopped and paused together is frozen": {mode: "stop", grade: snapshot.Frozen,
			shop:  []engine.Container{container("a", writes), container("b", writes, autoRemove)},
			after: states{"a": engine.Running, "b": engine.Running}},
		"one that somebody paused before stays paused": {mode: "pause", grade: snapshot.Frozen,
			shop: []engine.Container{container("a", writes, in(engine.Paused))}, after: states{"a": engine.Paused}},
		"one in a restart loop is started again": {mode: "pause", grade: snapshot.Cold,
			shop: []engine.Container{container("a", writes, in(engine.Restarting))}, after: states{"a": engine.Running}},
		"none with a writer is fuzzy": {mode: "none", grade: snapshot.Fuzzy, reason: `"app" ran`, held: running},
		"none without a writer is cold": {mode: "none", grade: snapshot.Cold,
			shop: []engine.Container{container("a", reads)}, after: states{"a": engine.Running}},
		"where nobody is seen, nothing is known": {mode: "pause", blind: true, shop: []engine.Container{}, after: states{},
			grade: snapshot.Fuzzy, reason: "cannot be seen"},

		"somebody unpauses one": {mode: "pause", grade: snapshot.Fuzzy, lost: true, reason: `"db"`,
			during: func(t *testing.T, w *world) { w.do(t, "unpause", "db") }},
		"somebody unpauses one and pauses it again": {mode: "pause", grade: snapshot.Fuzzy, lost: true, reason: `"db"`,
			during: func(t *testing.T, w *world) { w.do(t, "unpause", "db"); w.do(t, "pause", "db") }},
		"somebody starts one that was stopped": {mode: "stop", grade: snapshot.Fuzzy, lost: true, reason: `"db"`,
			during: func(t *testing.T, w *world) { w.do(t, "start", "db") }},
		"what somebody started and stopped again stays stopped": {mode: "stop", grade: snapshot.Fuzzy, lost: true, reason: `"db"`,
			during: func(t *testing.T, w *world) { w.do(t, "start", "db"); w.do(t, "stop", "db") },
			after:  with("db", engine.Exited)},
		"what somebody stopped while it was paused stays stopped": {mode: "pause", grade: snapshot.Fuzzy, lost: true, reason: `"db"`,
			during: func(t *testing.T, w *world) { w.do(t, "stop", "db") }, after: with("db", engine.Exited)},
		"somebody unpauses what he had paused before": {mode: "pause", grade: snapshot.Fuzzy, lost: true, reason: `"a"`,
			shop:   []engine.Container{container("a", writes, in(engine.Paused))},
			during: func(t *testing.T, w *world) { w.do(t, "unpause", "a") }, after: states{"a": engine.Running}},
		"another writer starts": {mode: "pause", grade: snapshot.Fuzzy, lost: true, reason: `"old"`,
			during: func(t *testing.T, w *world) { w.do(t, "start", "old") }, after: with("old", engine.Running)},
		"another writer starts while nothing is held": {mode: "pause", grade: snapshot.Fuzzy, lost: true, reason: `"a"`,
			shop:   []engine.Container{container("a", writes, in(engine.Exited))},
			during: func(t *testing.T, w *world) { w.do(t, "start", "a") }, after: states{"a": engine.Running}},
		"another reader starts": {mode: "pause", grade: snapshot.Frozen,
			during: func(t *testing.T, w *world) { w.do(t, "stop", "viewer"); w.do(t, "start", "viewer") }},
		"the volume is mounted to be written": {mode: "pause", grade: snapshot.Fuzzy, lost: true, reason: "mounted",
			during: func(_ *testing.T, w *world) { w.mount("data", "0123456789abcdef", "true") }},
		"the volume is mounted to be read": {mode: "pause", grade: snapshot.Frozen,
			during: func(_ *testing.T, w *world) { w.mount("data", "0123456789abcdef", "false") }},
		"another volume is mounted": {mode: "pause", grade: snapshot.Frozen,
			during: func(_ *testing.T, w *world) { w.mount("data2", "0123456789abcdef", "true") }},
		"this program mounts the volume": {mode: "pause", grade: snapshot.Frozen,
			during: func(_ *testing.T, w *world) { w.mount("data", "self", "true") }},
		"the events break off": {mode: "pause", grade: snapshot.Fuzzy, lost: true, reason: "broke off",
			during: func(_ *testing.T, w *world) { w.breakEvents() }},
		"the events break off and mode is none": {mode: "none", grade: snapshot.Fuzzy, reason: "broke off",
			shop:   []engine.Container{container("a", reads)},
			during: func(_ *testing.T, w *world) { w.breakEvents() }, after: states{"a": engine.Running}},
		"the engine goes down, and the paused ones with it": {mode: "pause", grade: snapshot.Fuzzy, lost: true, reason: "broke off",
			during: func(t *testing.T, w *world) {
				w.breakEvents()
				synctest.Wait()
				w.do(t, "stop", "db")
				w.Down()
				time.AfterFunc(time.Minute, w.Up)
			}},
		"the engine goes down for a minute, and they are stopped": {mode: "stop", grade: snapshot.Fuzzy, lost: true, reason: "broke off",
			during: func(_ *testing.T, w *world) {
				w.Down()
				time.AfterFunc(time.Minute, w.Up)
			}},

		"one is removed while paused": {mode: "pause", grade: snapshot.Fuzzy, lost: true, reason: `"db"`,
			during: func(t *testing.T, w *world) { w.do(t, "remove", "db") },
			after:  states{"app": engine.Running, "viewer": engine.Running, "old": engine.Exited}},
		"one is removed while stopped": {mode: "stop", grade: snapshot.Cold,
			during: func(t *testing.T, w *world) { w.do(t, "remove", "db") },
			after:  states{"app": engine.Running, "viewer": engine.Running, "old": engine.Exited}},
		"one is recreated while stopped, and not started": {mode: "stop", grade: snapshot.Cold,
			during: func(t *testing.T, w *world) {
				w.do(t, "remove", "db")
				w.AddContainer(enginetest.Container{Container: successor(engine.Created)})
			}},
		"one is recreated under another name": {mode: "stop", grade: snapshot.Cold,
			during: func(t *testing.T, w *world) {
				w.do(t, "remove", "db")
				c := successor(engine.Created)
				c.Name = "p_db_1"
				c.Labels["com.docker.compose.service"] = "db"
				w.AddContainer(enginetest.Container{Container: c})
			}, after: states{"app": engine.Running, "p_db_1": engine.Running, "viewer": engine.Running, "old": engine.Exited}},
		"one is recreated and runs": {mode: "stop", grade: snapshot.Fuzzy, lost: true, reason: "started meanwhile",
			during: func(t *testing.T, w *world) {
				w.do(t, "remove", "db")
				w.AddContainer(enginetest.Container{Container: successor(engine.Created)})
				w.do(t, "start", "db")
			}},
		"one is recreated and somebody ended it": {mode: "stop", grade: snapshot.Cold,
			during: func(t *testing.T, w *world) {
				w.do(t, "remove", "db")
				w.AddContainer(enginetest.Container{Container: successor(engine.Exited)})
			},
			after: states{"app": engine.Running, "db": engine.Exited, "viewer": engine.Running, "old": engine.Exited}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if tt.shop == nil {
					tt.shop = shop()
				}
				w := newWorld(t, tt.shop...)
				k := quiesce.New(w, quiesce.Options{Dir: t.TempDir(), Self: "self", Blind: tt.blind, Now: time.Now})
				h, err := k.Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: tt.mode})
				must(t, err)
				synctest.Wait()
				if tt.held != nil {
					if diff := cmp.Diff(tt.held, w.states(t)); diff != "" {
						t.Errorf("while held: %s", diff)
					}
				}
				if tt.during != nil {
					tt.during(t, w)
					synctest.Wait()
				}
				if isClosed(h.Lost()) != tt.lost {
					t.Errorf("lost is %v", !tt.lost)
				}
				report, err := h.Release(t.Context())
				must(t, err)
				reasons := strings.Join(report.Reasons, "; ")
				if report.Grade != tt.grade || !strings.Contains(reasons, tt.reason) || (reasons == "") != (tt.grade != snapshot.Fuzzy) {
					t.Errorf("grade %s as %q, want %s as %q", report.Grade, reasons, tt.grade, tt.reason)
				}
				if tt.after == nil {
					tt.after = running
				}
				if diff := cmp.Diff(tt.after, w.states(t)); diff != "" {
					t.Errorf("afterwards: %s", diff)
				}
			})
		})
	}
}

// Apps are held before what they need, and let go after it.
func TestOrderOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, shop()...)
		w.Faults = &faulttest.Injector{}
		h, err := w.keeper().Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause})
		must(t, err)
		_, err = h.Release(t.Context())
		must(t, err)
		changes := slices.DeleteFunc(w.Faults.Calls(), func(call string) bool { return !strings.Contains(call, "pause") })
		want := []string{"pause container id-app", "pause container id-db", "unpause container id-db", "unpause container id-app"}
		if diff := cmp.Diff(want, changes); diff != "" {
			t.Error(diff)
		}
	})
}

// A stream that began too late to tell of the hold cannot prove that nothing happened since.
func TestEventsThatBeginLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := quiesce.New(&forgetful{newWorld(t, shop()...)}, quiesce.Options{Dir: t.TempDir(), Now: time.Now})
		h, err := k.Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause})
		must(t, err)
		report, err := h.Release(t.Context())
		must(t, err)
		if report.Grade != snapshot.Fuzzy || !strings.Contains(strings.Join(report.Reasons, "; "), "did not tell of the hold") {
			t.Errorf("grade %s as %q", report.Grade, report.Reasons)
		}
	})
}

// forgetful does not tell that the app was paused.
type forgetful struct{ *world }

func (f *forgetful) Events(ctx context.Context, since time.Time) iter.Seq2[engine.Event, error] {
	return func(yield func(engine.Event, error) bool) {
		for ev, err := range f.world.Events(ctx, since) {
			if ev.Action == "pause" && ev.ID == "id-app" {
				continue
			}
			if !yield(ev, err) {
				return
			}
		}
	}
}

func TestHoldIsMeasuredPerContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, shop()...)
		h, err := w.keeper().Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Stop})
		must(t, err)
		time.Sleep(time.Second)
		report, err := h.Release(t.Context())
		must(t, err)
		want := []snapshot.Held{{Container: "app", Milliseconds: 2000 + 2000 + 1000}, {Container: "db", Milliseconds: 2000 + 1000}}
		if diff := cmp.Diff(want, report.Held); diff != "" { // a stop takes 2 s here
			t.Error(diff)
		}
		again, err := h.Release(t.Context())
		if diff := cmp.Diff(report, again); diff != "" || err != nil {
			t.Errorf("released again: %v %s", err, diff)
		}
	})
}

// A container that starts after the first look, and one that was restarted right then, are held and let go like the others.
func TestHoldLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, shop()...)
		w.on = func(call, id string) {
			if call == "stop" && id == "id-app" {
				w.do(t, "start", "old")
				w.do(t, "stop", "db")
				w.do(t, "start", "db")
			}
		}
		h, err := w.keeper().Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Stop})
		must(t, err)
		synctest.Wait()
		held := states{"app": engine.Exited, "db": engine.Exited, "viewer": engine.Running, "old": engine.Exited}
		if diff := cmp.Diff(held, w.states(t)); diff != "" {
			t.Errorf("while held: %s", diff)
		}
		_, err = h.Release(t.Context())
		must(t, err)
		after := states{"app": engine.Running, "db": engine.Running, "viewer": engine.Running, "old": engine.Running}
		if diff := cmp.Diff(after, w.states(t)); diff != "" {
			t.Errorf("afterwards: %s", diff)
		}
	})
}

func TestRestoreStopsReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, shop()...)
		h, err := w.keeper().Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Readers: true})
		must(t, err)
		held := states{"app": engine.Exited, "db": engine.Exited, "viewer": engine.Exited, "old": engine.Exited}
		if diff := cmp.Diff(held, w.states(t)); diff != "" {
			t.Errorf("while held: %s", diff)
		}
		w.breakEvents()
		synctest.Wait()
		if isClosed(h.Lost()) {
			t.Error("an exchange of data is given up as the events broke off")
		}
		_, err = h.Release(t.Context())
		must(t, err)
		held = states{"app": engine.Running, "db": engine.Running, "viewer": engine.Running, "old": engine.Exited}
		if diff := cmp.Diff(held, w.states(t)); diff != "" {
			t.Errorf("afterwards: %s", diff)
		}
	})
}

func TestLimit(t *testing.T) {
	request := quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause, Limit: time.Minute}
	running := states{"app": engine.Running, "db": engine.Running, "viewer": engine.Running, "old": engine.Exited}

	t.Run("lets go by itself", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, shop()...)
			h, err := w.keeper().Hold(t.Context(), request)
			must(t, err)
			time.Sleep(time.Minute - time.Millisecond)
			synctest.Wait()
			if isClosed(h.Lost()) || w.states(t)["db"] != engine.Paused {
				t.Fatal("let go before the limit")
			}
			time.Sleep(time.Millisecond)
			<-h.Lost()
			synctest.Wait()
			if diff := cmp.Diff(running, w.states(t)); diff != "" {
				t.Errorf("after the limit: %s", diff)
			}
			time.Sleep(time.Hour)
			report, err := h.Release(t.Context())
			must(t, err)
			want := quiesce.Report{Grade: snapshot.Fuzzy, Reasons: []string{"the limit of 1m0s passed"},
				Held: []snapshot.Held{{Container: "app", Milliseconds: 60000}, {Container: "db", Milliseconds: 60000}}}
			if diff := cmp.Diff(want, report); diff != "" {
				t.Error(diff)
			}
		})
	})
	t.Run("ends with the release", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, shop()...)
			h, err := w.keeper().Hold(t.Context(), request)
			must(t, err)
			_, err = h.Release(t.Context())
			must(t, err)
			w.do(t, "pause", "db")
			time.Sleep(time.Hour)
			if isClosed(h.Lost()) || w.states(t)["db"] != engine.Paused {
				t.Error("the limit still did something")
			}
		})
	})
	t.Run("passes while containers are still being stopped", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, shop()...)
			req := request
			req.Mode, req.Limit = quiesce.Stop, time.Second
			_, err := w.keeper().Hold(t.Context(), req)
			if err == nil || !strings.Contains(err.Error(), "limit of 1s") {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(running, w.states(t)); diff != "" {
				t.Errorf("afterwards: %s", diff)
			}
		})
	})
}

// Two holds never have a container in common: else the first would resume what the second still reads.
func TestHoldsOfOneContainerWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, shop()...)
		k := w.keeper()
		req := quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause, Limit: time.Minute}
		first, err := k.Hold(t.Context(), req)
		must(t, err)

		impatient, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := k.Hold(impatient, req); !errors.Is(err, context.Canceled) {
			t.Fatalf("a hold beside another one gives %v", err)
		}
		type outcome struct {
			report quiesce.Report
			err    error
		}
		second := make(chan outcome)
		go func() {
			h, err := k.Hold(t.Context(), req)
			if err != nil {
				second <- outcome{err: err}
				return
			}
			time.Sleep(time.Second)
			report, err := h.Release(t.Context())
			second <- outcome{report, err}
		}()
		time.Sleep(10 * time.Second)
		report, err := first.Release(t.Context())
		if err != nil || report.Grade != snapshot.Frozen {
			t.Errorf("the first is %s (%v), error %v", report.Grade, report.Reasons, err)
		}
		got := <-second
		if got.err != nil || got.report.Grade != snapshot.Frozen || got.report.Held[0].Milliseconds != 1000 {
			t.Errorf("the second is %+v", got)
		}
		if s := w.states(t)["db"]; s != engine.Running {
			t.Errorf("db is %s", s)
		}
	})
}
