package quiesce_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/snapshot"
)

// Whichever call fails, before or after it took effect, or is cut off by the end of the context: what ran runs, and nothing else was
// started.
func TestAfterAnyFaultAllContainersRun(t *testing.T) {
	for _, req := range []quiesce.Request{
		{Volumes: []engine.Volume{data}, Mode: quiesce.Pause, Limit: time.Hour},
		{Volumes: []engine.Volume{data}, Mode: quiesce.Stop, Limit: time.Hour},
		{Volumes: []engine.Volume{data}, Readers: true},
		{Volumes: []engine.Volume{data}, Mode: quiesce.Pause, Limit: time.Hour, Hooks: true},
		{Volumes: []engine.Volume{data}, Mode: quiesce.Stop, Limit: time.Hour, Hooks: true},
		{Volumes: []engine.Volume{data}, Mode: quiesce.None, Limit: time.Hour, Hooks: true},
	} {
		name := fmt.Sprintf("%s, readers %v, hooks %v", req.Mode, req.Readers, req.Hooks)
		calls := walk(t, name, req, &faulttest.Injector{})
		if calls < 8 {
			t.Fatalf("%s: a run without faults makes %d calls", name, calls)
		}
		for at := 1; at <= calls; at++ {
			for _, kind := range faulttest.Kinds {
				walk(t, fmt.Sprintf("%s, call %d fails %s", name, at, kind), req, &faulttest.Injector{At: at, Kind: kind})
			}
		}
	}
}

// walk holds and lets go once with the fault, and gives the number of calls that took.
func walk(t *testing.T, name string, req quiesce.Request, faults *faulttest.Injector) (calls int) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			faults.Cancel = cancel
			w := newWorld(t, withHooks(req.Mode, shop())...)
			service := w.addService()
			w.Faults = faults
			h, err := w.keeper().Hold(ctx, req)
			if err == nil {
				_, err = h.Release(ctx)
				if err != nil && !(req.Hooks && errors.Is(err, faulttest.ErrInjected)) { // how a hook ended may be unknown
					t.Errorf("let go with error: %v", err)
				}
			} else if !errors.Is(err, faulttest.ErrInjected) && !errors.Is(err, context.Canceled) && !strings.Contains(err.Error(), "injected") {
				t.Errorf("hold: %v", err)
			}
			time.Sleep(10 * time.Minute) // nothing may happen late
			want := states{"app": engine.Running, "db": engine.Running, "viewer": engine.Running, "old": engine.Exited}
			if diff := cmp.Diff(want, w.states(t)); diff != "" {
				t.Errorf("after calls %q: %s", faults.Calls(), diff)
			}
			if running, _ := w.tasks(t, service.ID); running != 2 {
				t.Errorf("after calls %q: %d tasks of the service run", faults.Calls(), running)
			}
			w.ran.check(t, req.Hooks && faults.At == 0)
			calls = len(faults.Calls())
		})
	})
	return calls
}

// A call whose answer never came may take effect after it was given up. It is waited for.
func TestLateEffects(t *testing.T) {
	for _, mode := range []quiesce.Mode{quiesce.Pause, quiesce.Stop} {
		t.Run(mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, shop()...)
				k := quiesce.New(&late{w}, quiesce.Options{Dir: t.TempDir(), Now: time.Now})
				_, err := k.Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: mode})
				if !errors.Is(err, engine.ErrUnreachable) {
					t.Fatalf("hold: %v", err)
				}
				time.Sleep(time.Minute)
				if s := w.states(t)["app"]; s != engine.Running {
					t.Errorf("app is %s", s)
				}
			})
		})
	}
}

// late gives no answer to the calls that would hold the app, and does what they asked for after a while.
type late struct{ *world }

func (l *late) Pause(ctx context.Context, id string) error {
	if id != "id-app" {
		return l.world.Pause(ctx, id)
	}
	return l.later(3*time.Second, func() error { return l.operator.Pause(context.WithoutCancel(ctx), id) })
}

func (l *late) Stop(ctx context.Context, id string, timeout time.Duration) error {
	if id != "id-app" {
		return l.world.Stop(ctx, id, timeout)
	}
	return l.later(2*timeout, func() error { return l.operator.Stop(context.WithoutCancel(ctx), id, timeout) })
}

func (l *late) later(after time.Duration, call func() error) error {
	time.AfterFunc(after, func() {
		if err := call(); err != nil {
			panic(err)
		}
	})
	return engine.ErrUnreachable
}

// A stop goes on in the engine although its caller has left, so the caller stays.
func TestStopIsNotCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, shop()...)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		begun := time.Now()
		_, err := w.keeper().Hold(ctx, quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Stop})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(begun); took != 2*time.Second { // that is one stop, and nothing left unsettled to wait for
			t.Errorf("it took %s", took)
		}
		if s := w.states(t)["app"]; s != engine.Running {
			t.Errorf("app is %s", s)
		}
	})
}

// One container that cannot be resumed keeps no other waiting, and is named.
func TestRefusalToResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, shop()...)
		refusing := &refusesToStart{world: w, id: "id-db"}
		k := quiesce.New(refusing, quiesce.Options{Dir: t.TempDir(), Now: time.Now})
		h, err := k.Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Stop})
		must(t, err)
		begun := time.Now()
		report, err := h.Release(t.Context())
		if err == nil || !strings.Contains(err.Error(), `start container "db": port is taken`) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(begun); took > 30*time.Second {
			t.Errorf("gave up after %s", took)
		}
		if report.Grade != snapshot.Cold || w.states(t)["app"] != engine.Running {
			t.Errorf("grade %s (%v), app is %s", report.Grade, report.Reasons, w.states(t)["app"])
		}
		if report.Held[0].Milliseconds > 5000 {
			t.Errorf("app was held for %d ms", report.Held[0].Milliseconds)
		}
	})
}

type refusesToStart struct {
	*world
	id string
}

func (r *refusesToStart) Start(ctx context.Context, id string) error {
	if id == r.id {
		return errors.New("port is taken")
	}
	return r.world.Start(ctx, id)
}

// Somebody else may pause, stop or remove a container just before the call that would hold it. Then it is not this hold's to resume.
func TestSomebodyElseIsFaster(t *testing.T) {
	for name, tt := range map[string]struct {
		action string
		after  engine.State
		grade  snapshot.Grade
	}{
		"pauses":  {"pause", engine.Paused, snapshot.Frozen},
		"stops":   {"stop", engine.Exited, snapshot.Frozen},
		"removes": {"remove", "", snapshot.Frozen},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, shop()...)
				w.on = func(call, id string) {
					if call == "pause" && id == "id-app" {
						w.do(t, tt.action, "db")
					}
				}
				h, err := w.keeper().Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause})
				must(t, err)
				report, err := h.Release(t.Context())
				must(t, err)
				if report.Grade != tt.grade || len(report.Held) != 1 {
					t.Errorf("%s (%v), held %v", report.Grade, report.Reasons, report.Held)
				}
				if got := w.states(t)["db"]; got != tt.after {
					t.Errorf("db is %q, want %q", got, tt.after)
				}
			})
		})
	}
}

// An engine may fail to freeze a busy container, and succeed a moment later.
func TestRefusalToPause(t *testing.T) {
	for name, tt := range map[string]struct {
		refusals int
		err      string
	}{"twice": {refusals: 2}, "always": {refusals: 1000, err: `pause container "db": unable to freeze`}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, shop()...)
				k := quiesce.New(&refusesToPause{w, "id-db", tt.refusals}, quiesce.Options{Dir: t.TempDir(), Now: time.Now})
				h, err := k.Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause})
				if tt.err == "" {
					must(t, err)
					_, err = h.Release(t.Context())
					must(t, err)
				} else if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v", err)
				}
				if s := w.states(t); s["app"] != engine.Running || s["db"] != engine.Running {
					t.Errorf("afterwards %v", s)
				}
			})
		})
	}
}

type refusesToPause struct {
	*world
	id   string
	left int
}

func (r *refusesToPause) Pause(ctx context.Context, id string) error {
	if id == r.id && r.left > 0 {
		r.left--
		return errors.New("unable to freeze")
	}
	return r.world.Pause(ctx, id)
}

// restarts is an engine that goes down while the app is being resumed, when the other container runs already, and takes the app with it.
type restarts struct {
	*world
	t    *testing.T
	once bool
}

func (r *restarts) Unpause(ctx context.Context, id string) error {
	if id != "id-app" || r.once {
		return r.world.Unpause(ctx, id)
	}
	r.once = true
	synctest.Wait() // until the stream has told that the other one was let go
	r.breakEvents()
	synctest.Wait()
	r.do(r.t, "stop", "app")
	return engine.ErrUnreachable
}

func TestAnEngineThatGoesDownWhileContainersAreLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, shop()...)
		k := quiesce.New(&restarts{world: w, t: t}, quiesce.Options{Dir: t.TempDir(), Now: time.Now})
		h, err := k.Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause})
		must(t, err)
		_, err = h.Release(t.Context())
		must(t, err)
		if s := w.states(t)["app"]; s != engine.Running {
			t.Errorf("app is %s", s)
		}
	})
}
