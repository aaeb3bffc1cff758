package quiesce_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/quiesce"
)

// recovering is an engine with containers that become healthy after a time; 0 is never.
type recovering struct {
	since time.Time
	after map[string]time.Duration
}

func (r recovering) Container(_ context.Context, id string) (engine.Container, error) {
	after, there := r.after[id]
	if !there {
		return engine.Container{}, fmt.Errorf("inspect: %w", engine.ErrNotFound)
	}
	c := engine.Container{ID: id, State: engine.Running, Health: "unhealthy"}
	if after > 0 && time.Since(r.since) >= after {
		c.Health = engine.Healthy
	}
	return c, nil
}

func (r recovering) Tasks(_ context.Context, service string) (engine.Tasks, error) {
	after, there := r.after[service]
	if !there {
		return engine.Tasks{}, fmt.Errorf("count: %w", engine.ErrNotFound)
	}
	tasks := engine.Tasks{Running: 1, Wanted: 2}
	if after > 0 && time.Since(r.since) >= after {
		tasks.Running = 2
	}
	return tasks, nil
}

func TestAwaitHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		eng := recovering{began, map[string]time.Duration{"quick": time.Second, "slow": 30 * time.Second, "broken": 0}}
		all := []quiesce.Checked{{ID: "quick", Name: "quick"}, {ID: "gone", Name: "gone"}, {ID: "slow", Name: "slow"}}
		if got := quiesce.AwaitHealth(t.Context(), eng, all, time.Minute); got != nil || time.Since(began) != 30*time.Second {
			t.Errorf("after %s: %q", time.Since(began), got)
		}
		began = time.Now()
		want := []string{`container "broken" was healthy before it was held and is unhealthy now (not within 1m0s)`}
		all = []quiesce.Checked{{ID: "broken", Name: "broken"}, {ID: "quick", Name: "quick"}}
		got := quiesce.AwaitHealth(t.Context(), eng, all, time.Minute)
		if diff := cmp.Diff(want, got); diff != "" || time.Since(began) != time.Minute {
			t.Errorf("after %s (-want +got):\n%s", time.Since(began), diff)
		}
	})
}

func TestAwaitHealthOfServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		eng := recovering{began, map[string]time.Duration{"slow": 30 * time.Second, "broken": 0, "scaled": 0}}
		all := []quiesce.Checked{
			{ID: "gone", Name: "gone", Replicas: 2}, {ID: "slow", Name: "slow", Replicas: 2}, {ID: "scaled", Name: "scaled since", Replicas: 3},
		}
		if got := quiesce.AwaitHealth(t.Context(), eng, all, time.Minute); got != nil || time.Since(began) != 30*time.Second {
			t.Errorf("after %s: %q", time.Since(began), got)
		}
		want := []string{`service "broken" was scaled back to 2 tasks, of which 1 run (not within 1m0s)`}
		got := quiesce.AwaitHealth(t.Context(), eng, []quiesce.Checked{{ID: "broken", Name: "broken", Replicas: 2}}, time.Minute)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// Only those are waited for that were healthy.
func TestAHoldTellsWhatWasHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health := func(state string) func(*engine.Container) { return func(c *engine.Container) { c.Health = state } }
		w := newWorld(t, container("well", writes, health("healthy")), container("ill", writes, health("unhealthy")), container("none", writes))
		h, err := w.keeper().Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause})
		must(t, err)
		report, err := h.Release(t.Context())
		must(t, err)
		if diff := cmp.Diff([]quiesce.Checked{{ID: "id-well", Name: "well"}}, report.Checked); diff != "" {
			t.Error(diff)
		}
	})
}
