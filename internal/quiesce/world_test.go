package quiesce_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/enginetest"
	"github.com/backupd/backupd/internal/quiesce"
)

// world is the fake engine, where stops take time, and with an operator who may be at work during calls.
type world struct {
	*enginetest.Fake
	t        *testing.T
	dir      string // of journals and locks
	operator *enginetest.Fake
	on       func(call, id string) // called after each pause and stop, with the container
	extra    chan engine.Event     // told beside what the fake tells

	beforeScale func()        // called once, before the first scaling
	lateScale   time.Duration // the first scaling gets no answer, and takes effect after that

	ran hookLog
}

func newWorld(t *testing.T, containers ...engine.Container) *world {
	w := &world{Fake: enginetest.New(t), t: t, dir: t.TempDir(), extra: make(chan engine.Event)}
	w.Dispatch = 3 * time.Second
	w.operator = w.Operator()
	for _, c := range containers {
		w.AddContainer(enginetest.Container{Container: c, Exec: func(ctx context.Context, cmd engine.Command) int { return w.program(ctx, c.Name, cmd) }})
	}
	return w
}

func (w *world) keeper() *quiesce.Keeper {
	return quiesce.New(w, quiesce.Options{Dir: w.dir, Engine: "engine", Self: "self", Now: time.Now})
}

func (w *world) Pause(ctx context.Context, id string) error {
	err := w.Fake.Pause(ctx, id)
	if w.on != nil {
		w.on("pause", id)
	}
	return err
}

func (w *world) Stop(ctx context.Context, id string, timeout time.Duration) error {
	time.Sleep(timeout / 2) // in a synctest bubble: it shows in what is measured
	err := w.Fake.Stop(ctx, id, timeout)
	if w.on != nil {
		w.on("stop", id)
	}
	return err
}

func (w *world) Events(ctx context.Context, since time.Time) iter.Seq2[engine.Event, error] {
	type told struct {
		ev  engine.Event
		err error
	}
	return func(yield func(engine.Event, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		fake := make(chan told)
		go func() {
			for ev, err := range w.Fake.Events(ctx, since) {
				select {
				case fake <- told{ev, err}:
				case <-ctx.Done():
				}
			}
			close(fake)
		}()
		for {
			select {
			case next, ok := <-fake:
				if !ok || !yield(next.ev, next.err) {
					return
				}
			case ev := <-w.extra:
				if !yield(ev, nil) {
					return
				}
			}
		}
	}
}

// mount tells that a container got a volume.
func (w *world) mount(volume, container, writes string) {
	w.extra <- engine.Event{Type: "volume", Action: "mount", ID: volume,
		Attributes: map[string]string{"container": container, "read/write": writes}}
}

// breakEvents breaks the stream of events, and nothing else.
func (w *world) breakEvents() {
	w.Down()
	w.Up()
}

// do is what an operator does to a container, by its name.
func (w *world) do(t *testing.T, action, name string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	switch action {
	case "pause":
		must(t, w.operator.Pause(ctx, name))
	case "unpause":
		must(t, w.operator.Unpause(ctx, name))
	case "stop":
		must(t, w.operator.Stop(ctx, name, 0))
	case "start":
		must(t, w.operator.Start(ctx, name))
	case "remove":
		w.RemoveContainer(name)
	default:
		t.Fatalf("no operator can %s", action)
	}
}

func (w *world) states(t *testing.T) map[string]engine.State {
	t.Helper()
	containers, err := w.operator.Containers(context.WithoutCancel(t.Context()))
	must(t, err)
	states := make(map[string]engine.State)
	for _, c := range containers {
		if !c.Task() {
			states[c.Name] = c.State
		}
	}
	return states
}

// addService makes a swarm service of two tasks that write.
func (w *world) addService() engine.Service {
	return w.AddService(engine.Service{ID: "s1", Name: "shop", Replicas: 2, StopTimeout: 4 * time.Second},
		taskOf(writes))
}

// taskOf is what tasks are made from.
func taskOf(options ...func(*engine.Container)) enginetest.Container {
	c := container("", options...)
	c.ID = ""
	return enginetest.Container{Container: c}
}

func (w *world) Scale(ctx context.Context, id string, from, to uint64) error {
	if running, _ := w.tasks(w.t, id); to > 0 && running > 0 {
		w.t.Errorf("scaled to %d while %d tasks have yet to end", to, running)
	}
	if before := w.beforeScale; before != nil {
		w.beforeScale = nil
		before()
	}
	if late := w.lateScale; late > 0 {
		w.lateScale = 0
		time.AfterFunc(late, func() {
			if err := w.operator.Scale(context.WithoutCancel(ctx), id, from, to); err != nil {
				panic(err)
			}
		})
		return engine.ErrUnreachable
	}
	return w.Fake.Scale(ctx, id, from, to)
}

// tasks is how many tasks a service has that run, and how many that do not.
func (w *world) tasks(t *testing.T, service string) (running, ended int) {
	t.Helper()
	containers, err := w.operator.Containers(context.WithoutCancel(t.Context()))
	must(t, err)
	for _, c := range containers {
		switch {
		case c.SwarmService() != service:
		case c.State == engine.Running:
			running++
		default:
			ended++
		}
	}
	return running, ended
}

var data = engine.Volume{Name: "data", Driver: "local", Mountpoint: "/var/lib/docker/volumes/data/_data"}

// container gives a container that runs.
func container(name string, options ...func(*engine.Container)) engine.Container {
	c := engine.Container{ID: "id-" + name, Name: name, State: engine.Running, StopTimeout: 4 * time.Second, Labels: map[string]string{}}
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

// task makes it a task of the service s1.
func task(c *engine.Container) {
	c.Labels["com.docker.swarm.service.id"], c.Labels["com.docker.swarm.task.id"] = "s1", "task-"+c.Name
}

func label(key, value string) func(*engine.Container) {
	return func(c *engine.Container) { c.Labels[key] = value }
}

// service makes it a service of compose project p, with its own name.
func service(dependsOn string) func(*engine.Container) {
	return func(c *engine.Container) {
		c.Labels["com.docker.compose.project"] = "p"
		c.Labels["com.docker.compose.service"] = c.Name
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
