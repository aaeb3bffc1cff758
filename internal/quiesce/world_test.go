package quiesce_test

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/quiesce"
)

// world is an engine that keeps its containers in memory and answers and tells as the real one was measured to. What is done by
// do happens outside of any call, as by an operator.
type world struct {
	faults *faulttest.Injector
	broken chan struct{} // breaks the event streams when closed
	// on is called after the effect of each call, with its name and container, without lock.
	on func(call, id string)

	mu         sync.Mutex
	containers map[string]engine.Container
	log        []engine.Event
	more       chan struct{} // closed when log grows
	runs       int
	down       bool
}

func newWorld(containers ...engine.Container) *world {
	w := &world{containers: make(map[string]engine.Container), more: make(chan struct{}), broken: make(chan struct{})}
	for _, c := range containers {
		w.runs++
		c.Started = time.Unix(int64(w.runs), 0)
		w.containers[c.ID] = c
	}
	return w
}

func (w *world) keeper() *quiesce.Keeper {
	return quiesce.New(w, quiesce.Options{Self: "self", Now: time.Now})
}

func (w *world) tell(c engine.Container, actions ...string) {
	for _, action := range actions {
		w.log = append(w.log, engine.Event{
			Type: "container", Action: action, ID: c.ID, Time: time.Now(), Attributes: map[string]string{"name": c.Name},
		})
	}
	close(w.more)
	w.more = make(chan struct{})
}

// do changes a container as somebody else would.
func (w *world) do(action, id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, ok := w.containers[id]
	if !ok {
		return fmt.Errorf("container %s: %w", id, engine.ErrNotFound)
	}
	refused := fmt.Errorf("%s container %s, which is %s: %w", action, id, c.State, engine.ErrConflict)
	switch action {
	case "pause":
		if c.State != engine.Running {
			return refused
		}
		c.State = engine.Paused
		w.tell(c, "pause")
	case "unpause":
		if c.State != engine.Paused {
			return refused
		}
		c.State = engine.Running
		w.tell(c, "unpause")
	case "stop":
		if !c.Active() {
			return nil
		}
		c.State = engine.Exited
		w.tell(c, "kill", "die", "stop")
		if c.AutoRemove {
			delete(w.containers, id)
			return nil
		}
	case "start":
		if c.State == engine.Running {
			return nil
		}
		if c.State == engine.Paused {
			return refused
		}
		w.runs++
		c.State, c.Started = engine.Running, time.Unix(int64(w.runs), 0)
		w.tell(c, "start")
	case "remove":
		delete(w.containers, id)
		w.tell(c, "die", "destroy")
		return nil
	}
	w.containers[id] = c
	return nil
}

// add makes a container as somebody else would.
func (w *world) add(c engine.Container) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.containers[c.ID] = c
	w.tell(c, "create")
}

func (w *world) setDown(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}

// mount tells that a container got a volume.
func (w *world) mount(volume, container, writes string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, engine.Event{Type: "volume", Action: "mount", ID: volume, Time: time.Now(),
		Attributes: map[string]string{"container": container, "read/write": writes}})
	w.tell(engine.Container{})
}

func (w *world) states() map[string]engine.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	states := make(map[string]engine.State)
	for id, c := range w.containers {
		states[id] = c.State
	}
	return states
}

func (w *world) call(ctx context.Context, name, id string, effect func() error) error {
	err := w.faults.Call(ctx, name+" "+id, func() error {
		w.mu.Lock()
		down := w.down
		w.mu.Unlock()
		if down {
			return fmt.Errorf("%s: %w", name, engine.ErrUnreachable)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return effect()
	})
	if w.on != nil {
		w.on(name, id)
	}
	return err
}

func (w *world) Containers(ctx context.Context) (all []engine.Container, err error) {
	err = w.call(ctx, "list", "", func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		all = slices.Collect(maps.Values(w.containers))
		return nil
	})
	return all, err
}

func (w *world) Container(ctx context.Context, id string) (c engine.Container, err error) {
	err = w.call(ctx, "inspect", id, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		var ok bool
		if c, ok = w.containers[id]; !ok {
			return fmt.Errorf("container %s: %w", id, engine.ErrNotFound)
		}
		return nil
	})
	return c, err
}

func (w *world) Pause(ctx context.Context, id string) error {
	return w.call(ctx, "pause", id, func() error { return w.do("pause", id) })
}

func (w *world) Unpause(ctx context.Context, id string) error {
	return w.call(ctx, "unpause", id, func() error { return w.do("unpause", id) })
}

func (w *world) Stop(ctx context.Context, id string, timeout time.Duration) error {
	return w.call(ctx, "stop", id, func() error {
		time.Sleep(timeout / 2) // in a synctest bubble: how long a stop takes shows in what is measured
		return w.do("stop", id)
	})
}

func (w *world) Start(ctx context.Context, id string) error {
	return w.call(ctx, "start", id, func() error { return w.do("start", id) })
}

func (w *world) Events(ctx context.Context, since time.Time) iter.Seq2[engine.Event, error] {
	return func(yield func(engine.Event, error) bool) {
		if err := w.call(ctx, "events", "", func() error { return nil }); err != nil {
			yield(engine.Event{}, err)
			return
		}
		for at := 0; ; {
			w.mu.Lock()
			fresh, more := w.log[at:], w.more
			at = len(w.log)
			w.mu.Unlock()
			for _, ev := range fresh {
				if !ev.Time.Before(since) && !yield(ev, nil) {
					return
				}
			}
			select {
			case <-more:
			case <-w.broken:
				yield(engine.Event{}, fmt.Errorf("read events: %w", engine.ErrUnreachable))
				return
			case <-ctx.Done():
				yield(engine.Event{}, ctx.Err())
				return
			}
		}
	}
}

var data = engine.Volume{Name: "data", Driver: "local", Mountpoint: "/var/lib/docker/volumes/data/_data"}

// container gives a container; its name is its id.
func container(id string, options ...func(*engine.Container)) engine.Container {
	c := engine.Container{ID: id, Name: id, State: engine.Running, StopTimeout: 4 * time.Second, Labels: map[string]string{}}
	for _, o := range options {
		o(&c)
	}
	return c
}

func writes(c *engine.Container) {
	c.Mounts = append(c.Mounts, engine.Mount{Volume: "data", Destination: "/data"})
}

func reads(c *engine.Container) {
	c.Mounts = append(c.Mounts, engine.Mount{Volume: "data", Destination: "/data", ReadOnly: true})
}

func binds(source string) func(*engine.Container) {
	return func(c *engine.Container) {
		c.Mounts = append(c.Mounts, engine.Mount{Source: source, Destination: "/data"})
	}
}

func in(s engine.State) func(*engine.Container) { return func(c *engine.Container) { c.State = s } }

func autoRemove(c *engine.Container) { c.AutoRemove = true }

func label(key, value string) func(*engine.Container) {
	return func(c *engine.Container) { c.Labels[key] = value }
}

// service makes it a service of compose project p, with the id as its name.
func service(dependsOn string) func(*engine.Container) {
	return func(c *engine.Container) {
		c.Labels["com.docker.compose.project"] = "p"
		c.Labels["com.docker.compose.service"] = c.ID
		c.Labels["com.docker.compose.depends_on"] = dependsOn
	}
}

// must is for what a test does as an operator.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
