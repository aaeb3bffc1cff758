package quiesce_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	api "github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/testenv"
)

// amnesiac is an engine that dies in the middle of pausing a container, and comes back without knowing about it.
type amnesiac struct {
	*world
	id      string
	freezes bool // it had done so by then
	paused  int  // calls
}

func (f *amnesiac) Pause(ctx context.Context, id string) error {
	if id != f.id {
		return f.world.Pause(ctx, id)
	}
	if f.paused++; f.paused > 1 {
		return f.world.Pause(ctx, id)
	}
	if f.freezes {
		f.Freeze(id)
	}
	return fmt.Errorf("pause: %w", engine.ErrUnreachable)
}

func TestAnEngineThatForgetsThatItFroze(t *testing.T) {
	for name, tt := range map[string]struct {
		freezes bool
		option  func(*engine.Container)
		err     string
		frozen  bool // for good
		calls   int  // to pause it
	}{
		"it had not":                  {freezes: false, option: writes, err: "pause", calls: 2},
		"it had":                      {freezes: true, option: writes, err: "pause", calls: 1 + 3},
		"one that goes when it stops": {freezes: true, option: func(c *engine.Container) { writes(c); autoRemove(c) }, err: "--rm", frozen: true, calls: 1 + 3*8},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &amnesiac{world: newWorld(t, container("db", tt.option), container("app", writes)), id: "id-db", freezes: tt.freezes}
				k := quiesce.New(f, quiesce.Options{Dir: f.dir, Engine: "engine", Now: time.Now})
				_, err := k.Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause})
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want it to speak of %s", err, tt.err)
				}
				if s := f.states(t); s["db"] != engine.Running || s["app"] != engine.Running || f.Frozen("db") != tt.frozen {
					t.Errorf("afterwards %v, frozen %v", s, f.Frozen("db"))
				}
				if f.paused != tt.calls {
					t.Errorf("the engine was asked %d times to pause it, want %d", f.paused, tt.calls)
				}
			})
		})
	}
}

// stammering is an amnesiac that ends a container and gives no answer.
type stammering struct{ *amnesiac }

func (s stammering) Stop(ctx context.Context, id string, timeout time.Duration) error {
	return errors.Join(s.amnesiac.Stop(ctx, id, timeout), fmt.Errorf("stop: %w", engine.ErrUnreachable))
}

func TestAFrozenContainerThatWasStoppedWithoutAnAnswerIsStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stammering{&amnesiac{world: newWorld(t, container("db", writes)), id: "id-db", freezes: true}}
		k := quiesce.New(s, quiesce.Options{Dir: s.dir, Engine: "engine", Now: time.Now})
		if _, err := k.Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause}); err == nil {
			t.Error("it is held")
		}
		if got := s.states(t)["db"]; got != engine.Running {
			t.Errorf("it is %s", got)
		}
	})
}

// What somebody else has frozen is theirs.
func TestAContainerThatWasFrozenBeforeIsLeftAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, container("db", writes))
		w.Freeze("db")
		_, err := w.keeper().Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause})
		if err == nil || !strings.Contains(err.Error(), "only a restart of it helps") {
			t.Errorf("error %v", err)
		}
		if s := w.states(t); s["db"] != engine.Running || !w.Frozen("db") {
			t.Errorf("afterwards %v", s)
		}
	})
}

// loses is an engine whose first answer to a pause is lost with all that it knows of it.
type loses struct {
	quiesce.Engine
	freeze func(id string)
	lost   bool
}

func (l *loses) Pause(ctx context.Context, id string) error {
	if l.lost {
		return l.Engine.Pause(ctx, id)
	}
	l.lost = true
	l.freeze(id)
	return fmt.Errorf("pause: %w", engine.ErrUnreachable)
}

func TestAFrozenContainerRunsAgainOnARealEngine(t *testing.T) {
	e := testenv.NewOwnEngine(t)
	e.KeepContainers()
	r := newRealOn(t, e.Docker)
	id := r.run("writer", writer, api.HostConfig{})
	k := quiesce.New(&loses{Engine: r.client, freeze: e.Forget}, quiesce.Options{Dir: t.TempDir(), Now: time.Now})
	if _, err := k.Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{r.volume}, Mode: quiesce.Pause}); err == nil {
		t.Error("it is held")
	}
	if state := r.state(t, id); state != engine.Running {
		t.Errorf("it is %s", state)
	}
	count := filepath.Join(r.volume.Mountpoint, "n")
	before, err := os.ReadFile(count)
	must(t, err)
	testenv.Eventually(t, "it writes again", func() bool {
		now, err := os.ReadFile(count)
		return err == nil && string(now) != string(before)
	})
}
