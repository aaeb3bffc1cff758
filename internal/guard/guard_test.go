package guard_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/enginetest"
	"github.com/backupd/backupd/internal/guard"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/snapshot"
)

var quiet = slog.New(slog.DiscardHandler)

// world is an engine with one container, and guards that run in this process.
type world struct {
	eng    *enginetest.Fake
	own    *quiesce.Keeper
	keeper *guard.Keeper
	volume engine.Volume

	kill      func() // the guard that was started last: it is gone without a word
	recovered int
}

func newWorld(t *testing.T) *world {
	w := &world{eng: enginetest.New(t)}
	w.volume = w.eng.AddVolume(engine.Volume{Name: "data"})
	w.eng.AddContainer(enginetest.Container{Container: engine.Container{Name: "db", State: engine.Running,
		Mounts: []engine.Mount{{Volume: "data", Destination: "/data"}}}})
	w.own = quiesce.New(w.eng, quiesce.Options{Dir: t.TempDir(), Engine: "FAKE", Now: time.Now})
	w.keeper = &guard.Keeper{Start: w.start, Log: quiet, Recover: func(context.Context) error { w.recovered++; return nil }}
	return w
}

func (w *world) start() (*guard.Guard, error) {
	hears, orders := io.Pipe()
	answers, says := io.Pipe()
	ended := make(chan error, 1)
	w.kill = func() { says.Close(); ended <- errors.New("signal: killed") }
	go func() {
		err := guard.Serve(context.Background(), hears, says, w.own, quiet)
		says.Close()
		hears.Close()
		select {
		case ended <- err:
		default:
		}
	}()
	return &guard.Guard{Orders: orders, Answers: answers, Wait: func() error { return <-ended }}, nil
}

func (w *world) request(limit time.Duration) quiesce.Request {
	return quiesce.Request{Volumes: []engine.Volume{w.volume}, Mode: quiesce.Pause, Limit: limit}
}

func (w *world) state(t *testing.T) engine.State {
	t.Helper()
	c, err := w.eng.Operator().Container(context.Background(), "db")
	if err != nil {
		t.Fatal(err)
	}
	return c.State
}

func (w *world) mustBe(t *testing.T, want engine.State, when string) {
	t.Helper()
	synctest.Wait()
	if got := w.state(t); got != want {
		t.Errorf("%s the container is %s, want %s", when, got, want)
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

func TestAHoldByAGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h, err := w.keeper.Hold(t.Context(), w.request(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute) // heartbeats go on
		w.mustBe(t, engine.Paused, "while it is held")
		for range 2 {
			report, err := h.Release(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := quiesce.Report{Grade: snapshot.Frozen, Held: []snapshot.Held{{Container: "db", Milliseconds: 600_000}}}
			if diff := cmp.Diff(want, report); diff != "" {
				t.Error("report (-want +got):\n" + diff)
			}
		}
		w.mustBe(t, engine.Running, "after the release")
		if isClosed(h.Lost()) {
			t.Error("a hold that was released counts as lost")
		}
	})
}

// A worker that is stopped, or hangs, sends no heartbeats; one that dies closes the pipe.
func TestAGuardLetsGoBySelf(t *testing.T) {
	for name, tt := range map[string]struct {
		after time.Duration
		do    func(orders io.Closer)
	}{
		"when orders end":           {0, func(orders io.Closer) { orders.Close() }},
		"after 30 s without a beat": {30 * time.Second, func(io.Closer) {}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				g, _ := w.start()
				go io.Copy(io.Discard, g.Answers)
				if err := json.NewEncoder(g.Orders).Encode(map[string]any{"hold": w.request(time.Hour)}); err != nil {
					t.Fatal(err)
				}
				w.mustBe(t, engine.Paused, "before")
				if tt.after > 0 {
					time.Sleep(tt.after - time.Millisecond)
					w.mustBe(t, engine.Paused, "just before")
					time.Sleep(time.Millisecond)
				}
				tt.do(g.Orders)
				w.mustBe(t, engine.Running, "afterwards")
				if err := g.Wait(); err == nil {
					t.Error("the guard ended as if all were well")
				}
				// Whoever wakes up now can no longer hold anything.
				if _, err := g.Orders.Write([]byte("{}\n")); err == nil {
					t.Error("the guard still hears")
				}
				g.Orders.Close()
			})
		})
	}
}

func TestTheLimitIsTheGuardsToKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h, err := w.keeper.Hold(t.Context(), w.request(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		<-h.Lost()
		w.mustBe(t, engine.Running, "after the limit")
		if r, err := h.Release(t.Context()); err != nil || r.Grade != snapshot.Fuzzy || len(r.Reasons) != 1 {
			t.Errorf("report %+v, %v", r, err)
		}
	})
}

func TestAGuardThatDiesIsSucceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h, err := w.keeper.Hold(t.Context(), w.request(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		before := w.recovered
		w.kill()
		<-h.Lost()
		synctest.Wait()
		if w.recovered != before+1 {
			t.Errorf("its place was taken %d times before the release, want once", w.recovered-before)
		}
		r, err := h.Release(t.Context())
		if err == nil || !strings.Contains(err.Error(), "killed") || r.Grade != snapshot.Fuzzy {
			t.Errorf("report %+v, error %v", r, err)
		}
	})
}

func TestNoHold(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(w *world, cancel func())
		want string
	}{
		"the engine is down":  {func(w *world, _ func()) { w.eng.Down() }, "list containers"},
		"the caller gives up": {func(_ *world, cancel func()) { cancel() }, "context canceled"},
		"no guard can be had": {func(w *world, _ func()) {
			w.keeper.Start = func() (*guard.Guard, error) { return nil, errors.New("no memory") }
		}, "no memory"},
		"the guard dies at once": {func(w *world, _ func()) {
			start := w.keeper.Start
			w.keeper.Start = func() (*guard.Guard, error) { g, err := start(); w.kill(); return g, err }
		}, "killed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				tt.do(w, cancel)
				_, err := w.keeper.Hold(ctx, w.request(time.Hour))
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want one about %q", err, tt.want)
				}
				w.eng.Up()
				w.mustBe(t, engine.Running, "afterwards")
			})
		})
	}
}

func TestAGuardThatNobodyAsks(t *testing.T) {
	for name, text := range map[string]string{"the orders end": "", "no hold": "{}\n", "what is no order": "hello\n"} {
		if err := guard.Serve(t.Context(), strings.NewReader(text), io.Discard, nil, quiet); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		in, orders := io.Pipe()
		defer orders.Close()
		if err := guard.Serve(t.Context(), in, io.Discard, nil, quiet); err == nil {
			t.Error("silence: no error")
		}
	})
}
