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

// started is an engine whose container is as the script says, second by second, and then stays so.
type started struct {
	began  time.Time
	script []engine.Container
}

func (s started) Container(context.Context, string) (engine.Container, error) {
	at := min(int(time.Since(s.began)/time.Second), len(s.script)-1)
	return s.script[at], nil
}

func (started) Tasks(context.Context, string) (engine.Tasks, error) { panic("there are no services") }

// Without a health check, whether a container is well on other data shows in its going on.
func TestAwaitHealthOnOtherData(t *testing.T) {
	runs := func(since int64) engine.Container {
		return engine.Container{State: engine.Running, Started: time.Unix(since, 0)}
	}
	checked := func(health string) engine.Container { return engine.Container{State: engine.Running, Health: health} }
	over := engine.Container{State: engine.Exited}
	again := engine.Container{State: engine.Restarting}
	for name, c := range map[string]struct {
		script []engine.Container
		want   string
		after  time.Duration
	}{
		"goes on":                        {script: []engine.Container{runs(1)}, after: 3 * time.Second},
		"ends at once":                   {script: []engine.Container{over}, want: `container "db" has ended`},
		"ends soon":                      {script: []engine.Container{runs(1), runs(1), over}, want: `container "db" has ended`, after: 2 * time.Second},
		"was started anew between looks": {script: []engine.Container{runs(1), runs(2)}, want: `container "db" ended and was started anew`, after: time.Second},
		"ends over and over":             {script: []engine.Container{again}, want: `container "db" ends over and over (not within 1m0s)`, after: time.Minute},
		"gets going":                     {script: []engine.Container{again, again, runs(3)}, after: 5 * time.Second},
		"says that it is well":           {script: []engine.Container{checked("starting"), checked(engine.Healthy)}, after: time.Second},
		"says that it is not":            {script: []engine.Container{checked("unhealthy")}, want: `container "db" is unhealthy (not within 1m0s)`, after: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				got := quiesce.AwaitHealth(t.Context(), started{began, c.script}, []quiesce.Checked{{ID: "1", Name: "db", OtherData: true}}, time.Minute)
				want := []string{c.want}
				if c.want == "" {
					want = nil
				}
				if diff := cmp.Diff(want, got); diff != "" || time.Since(began) != c.after {
					t.Errorf("after %s (-want +got):\n%s", time.Since(began), diff)
				}
			})
		})
	}
}
