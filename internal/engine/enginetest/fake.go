// Package enginetest has an engine that is only memory and folders, and the suite that it and the real engines pass.
//
// The fake does what the suite says that engines do, and in addition what a test needs to be cruel: calls that fail, programs that
// write at a moment of the test's choosing, operators who interfere.
package enginetest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/faulttest"
)

// Fake is an engine. All its methods may be called from several goroutines.
type Fake struct {
	*world
	// Faults, when set, sees every call that takes a context, and may make one fail. Set it before the first call.
	Faults *faulttest.Injector
	// Dispatch is how long swarm takes until a task ends that a new count has no place for; others start at once, also beside it. Set it
	// before the first call.
	Dispatch time.Duration
	// Helper is what the process of a helper container does. Set it before the first is run.
	Helper func(in io.Reader, out io.Writer, volume string) error
	// Trial says what the container of a trial does; nil is one that runs and does nothing. It must not call the Fake. Set it before the first.
	Trial func(engine.Trial) Container
	// Kind is what the engine runs programs of; by itself those of this machine.
	Kind engine.Platform
}

// world is what several Fakes can look at, each with faults of its own.
type world struct {
	root string
	now  func() time.Time

	mu         sync.Mutex
	last       time.Time // that was given to anything, so that no two things have the same
	made       int       // containers so far
	down       bool
	volumes    map[string]engine.Volume
	containers []*Container // in the order of their creation
	services   map[string]*service
	images     map[string]bool // names of those that were loaded
	known      []engine.Image  // that were added
	noManager  bool            // of a swarm
	events     []engine.Event
	news       chan struct{} // closed when there are more events, or the engine went down
	starts     int           // of the engine: streams of an earlier one are broken
}

// Container is a container of the fake: what the engine tells of it, and what it does.
type Container struct {
	engine.Container
	// Work is what its program does in a moment of running: see Step. It must not call the Fake.
	Work func()
	// Setup is how its process is started.
	Setup engine.Setup
	// Files are those that CopyInto knows, by path, with their sizes.
	Files map[string]int64
	// Log is all that it has printed.
	Log string
	// OnStart is what it does when it is started; it may end at once, by setting its state and its ending.
	OnStart func(*engine.Container)
	// OnStop is what it does, beside ending, when it is stopped.
	OnStop func()
	// Exec is what a command does that is run in it, with its exit code; nil is a success that does nothing. Its ctx ends with the
	// container, its Stdin also when the caller has gone away, and it has both streams.
	Exec func(ctx context.Context, cmd engine.Command) int

	kills  []context.CancelFunc // of commands that were begun in this run
	ending bool                 // its service counts it no more
	frozen bool                 // its processes are, until they end, and the engine does not know
}

// New is an engine without anything in it. The clock is the system's, and so the bubble's under testing/synctest.
func New(t testing.TB) *Fake {
	return &Fake{world: &world{root: t.TempDir(), now: time.Now, volumes: map[string]engine.Volume{}, services: map[string]*service{}, images: map[string]bool{}, news: make(chan struct{})}}
}

// Operator is the same engine for somebody else, whose calls neither fail nor count.
func (f *Fake) Operator() *Fake { return &Fake{world: f.world, Dispatch: f.Dispatch} }

// AddVolume makes a volume, with a real folder. Its name has to be one for a folder.
func (w *world) AddVolume(v engine.Volume) engine.Volume {
	w.mu.Lock()
	defer w.mu.Unlock()
	made, err := w.createVolume(v)
	if err != nil {
		panic(err) // a mistake of the test
	}
	return made
}

// AddContainer makes a container. What is not given of id, name, state, start and stop time-out is filled in; the state is Running
// unless it says otherwise, and a mount of a volume without a source gets its folder.
func (w *world) AddContainer(c Container) engine.Container {
	w.mu.Lock()
	defer w.mu.Unlock()
	return told(w.addContainer(c))
}

// Step lets every container that is running do its Work once. None can be held while it does.
func (w *world) Step() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.containers {
		if c.State == engine.Running && c.Work != nil {
			c.Work()
		}
	}
}

// RemoveContainer removes a container, whatever it is doing, as an operator would with force.
func (w *world) RemoveContainer(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, err := w.find(id)
	if err != nil {
		panic(err) // a mistake of the test
	}
	w.end(c)
	w.remove(c)
	w.replace(c)
}

// Freeze freezes the processes of a running container without the engine's knowledge.
func (w *world) Freeze(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, err := w.find(id)
	if err != nil || c.State != engine.Running {
		panic(fmt.Sprintf("freeze %s: %v", id, err)) // a mistake of the test
	}
	c.frozen = true
}

// Frozen tells whether they are.
func (w *world) Frozen(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, err := w.find(id)
	return err == nil && c.frozen
}

// Recreate replaces a container by a running one that differs in its id alone, as compose does.
func (w *world) Recreate(id string) engine.Container {
	w.mu.Lock()
	c, err := w.find(id)
	w.mu.Unlock()
	if err != nil {
		panic(err) // a mistake of the test
	}
	w.RemoveContainer(c.ID)
	again := *c
	again.ID, again.State, again.Started = "", engine.Running, time.Time{}
	return w.AddContainer(again)
}

// Down takes the engine away, and breaks every stream of events; Up brings it back. Containers go on as under live-restore.
func (w *world) Down() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	w.starts++
	w.announce()
}

// Up brings an engine back that was Down. It has forgotten its events. One that is up goes on as it is.
func (w *world) Up() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		w.down, w.events = false, nil
	}
}

// --- what follows is called with the lock held ---

func (w *world) createVolume(v engine.Volume) (engine.Volume, error) {
	if v.Name == "" || v.Name == "." || v.Name == ".." || strings.ContainsAny(v.Name, "/\x00") {
		return engine.Volume{}, fmt.Errorf("create volume %q: this is no name for a volume", v.Name)
	}
	if _, there := w.volumes[v.Name]; there {
		return engine.Volume{}, fmt.Errorf("create volume %q: %w: it exists already", v.Name, engine.ErrConflict)
	}
	if v.Driver == "" {
		v.Driver = "local"
	}
	v.Mountpoint = filepath.Join(w.root, "volumes", v.Name, "_data")
	if err := os.MkdirAll(v.Mountpoint, 0o755); err != nil {
		return engine.Volume{}, fmt.Errorf("create volume %q: %w", v.Name, err)
	}
	v.Labels, v.Options = maps.Clone(v.Labels), maps.Clone(v.Options)
	w.volumes[v.Name] = v
	w.emit(engine.Event{Type: "volume", Action: "create", ID: v.Name})
	return v, nil
}

// addContainer fills in what is not given.
func (w *world) addContainer(c Container) *Container {
	w.made++
	if c.ID == "" {
		c.ID = fmt.Sprintf("%064x", w.made)
	}
	if c.Name == "" {
		c.Name = fmt.Sprintf("container-%d", w.made)
	}
	if c.State == "" {
		c.State = engine.Running
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 10 * time.Second
	}
	if c.Started.IsZero() && c.State != engine.Created {
		c.Started = w.tick()
	}
	c.Mounts = slices.Clone(c.Mounts)
	for i, m := range c.Mounts {
		if m.Volume != "" && m.Source == "" {
			c.Mounts[i].Source = w.volumes[m.Volume].Mountpoint
		}
	}
	w.containers = append(w.containers, &c)
	w.happened(c.Container, "create")
	if c.State == engine.Running {
		w.happened(c.Container, "start")
	}
	return &c
}

// find looks up a container by its id or name.
func (w *world) find(id string) (*Container, error) {
	for _, c := range w.containers {
		if c.ID == id || c.Name == id {
			return c, nil
		}
	}
	return nil, fmt.Errorf("container %q: %w", id, engine.ErrNotFound)
}

// end makes an active container an exited one.
func (w *world) end(c *Container) {
	if !c.Active() {
		return
	}
	if c.State == engine.Paused {
		w.happened(c.Container, "unpause")
	}
	if c.OnStop != nil {
		c.OnStop()
	}
	for _, kill := range c.kills {
		kill()
	}
	c.State, c.kills, c.frozen = engine.Exited, nil, false
	w.happened(c.Container, "die")
}

func (w *world) remove(c *Container) {
	w.containers = slices.DeleteFunc(w.containers, func(other *Container) bool { return other == c })
	w.happened(c.Container, "destroy")
}

func (w *world) happened(c engine.Container, action string) {
	attributes := maps.Clone(c.Labels)
	if attributes == nil {
		attributes = map[string]string{}
	}
	attributes["name"], attributes["image"] = c.Name, c.Image
	w.emit(engine.Event{Type: "container", Action: action, ID: c.ID, Attributes: attributes})
}

func (w *world) emit(e engine.Event) {
	e.Time = w.tick()
	w.events = append(w.events, e)
	w.announce()
}

func (w *world) announce() {
	close(w.news)
	w.news = make(chan struct{})
}

// tick is the time now, and later than any that it gave before.
func (w *world) tick() time.Time {
	now := w.now()
	if !now.After(w.last) {
		now = w.last.Add(time.Nanosecond)
	}
	w.last = now
	return now
}

// told is what the engine tells of a container: nothing that the one who asked could change under it.
func told(c *Container) engine.Container {
	seen := c.Container
	seen.Labels, seen.Mounts = maps.Clone(seen.Labels), slices.Clone(seen.Mounts)
	return seen
}
