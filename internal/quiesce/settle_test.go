package quiesce_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/quiesce"
)

// What was stopped to have its data exchanged runs again once that is in order, and not before: neither by whoever held it, nor by Recover.
func TestWhatWasStoppedForAnExchangeStaysSoUntilItIsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := engine.Volume{Name: "app", Mountpoint: "/volumes/app/_data"}
		w := newWorld(t, engine.Container{ID: "db", Name: "db", State: engine.Running, StopTimeout: time.Second, Mounts: []engine.Mount{{Volume: "app"}}})
		state := func() engine.State {
			c, err := w.operator.Container(context.Background(), "db")
			if err != nil {
				t.Fatal(err)
			}
			return c.State
		}
		var asked []string
		broken := errors.New("the disk is gone")
		settle := func(_ context.Context, volumes []string) error {
			asked = append(asked, volumes...)
			if state() == engine.Running {
				t.Error("it runs while its volume is put in order")
			}
			return broken
		}
		k := quiesce.New(w, quiesce.Options{Dir: w.dir, Engine: "engine", Settle: settle, Now: time.Now})
		hold, err := k.Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{v}, Readers: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(asked) > 0 {
			t.Error("it was put in order before anything was to run again")
		}
		if _, err := hold.Release(t.Context()); !errors.Is(err, broken) || !strings.Contains(err.Error(), "backupd recover") {
			t.Errorf("release: %v", err)
		}
		if resumed, err := k.Recover(t.Context()); !errors.Is(err, broken) || len(resumed) > 0 || state() != engine.Exited {
			t.Errorf("recover: %q, %v; db is %s", resumed, err, state())
		}
		broken = nil
		if resumed, err := k.Recover(t.Context()); err != nil || !slices.Equal(resumed, []string{"db"}) || state() != engine.Running {
			t.Errorf("recover once it can be put in order: %q, %v; db is %s", resumed, err, state())
		}
		if want := []string{"app", "app", "app"}; !slices.Equal(asked, want) {
			t.Errorf("asked for %q", asked)
		}
	})
}

// A backup exchanges nothing.
func TestOnlyAnExchangeIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := engine.Volume{Name: "app"}
		w := newWorld(t, engine.Container{ID: "db", Name: "db", State: engine.Running, Mounts: []engine.Mount{{Volume: "app"}}})
		settle := func(context.Context, []string) error { return errors.New("it is no business of a backup") }
		k := quiesce.New(w, quiesce.Options{Dir: w.dir, Engine: "engine", Settle: settle, Now: time.Now})
		hold, err := k.Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{v}, Mode: quiesce.Pause})
		if err == nil {
			_, err = hold.Release(t.Context())
		}
		if err != nil {
			t.Error(err)
		}
	})
}
