package enginetest

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// Engine is all that backupd asks of an engine with containers.
type Engine interface {
	Info(ctx context.Context) (engine.Info, error)
	Volumes(ctx context.Context) ([]engine.Volume, error)
	Volume(ctx context.Context, name string) (engine.Volume, error)
	CreateVolume(ctx context.Context, v engine.Volume) (engine.Volume, error)
	RemoveVolume(ctx context.Context, name string) error
	Containers(ctx context.Context) ([]engine.Container, error)
	Container(ctx context.Context, id string) (engine.Container, error)
	Pause(ctx context.Context, id string) error
	Unpause(ctx context.Context, id string) error
	Stop(ctx context.Context, id string, timeout time.Duration) error
	Start(ctx context.Context, id string) error
	Service(ctx context.Context, id string) (engine.Service, error)
	Tasks(ctx context.Context, service string) (engine.Tasks, error)
	Scale(ctx context.Context, id string, from, to uint64) error
	Exec(ctx context.Context, id string, cmd engine.Command) (exit int, err error)
	Events(ctx context.Context, since time.Time) iter.Seq2[engine.Event, error]
	Setup(ctx context.Context, id string) (engine.Setup, error)
	Image(ctx context.Context, name string) (engine.Image, error)
	CreateTrial(ctx context.Context, t engine.Trial) (id string, err error)
	Logged(ctx context.Context, id string, lines int) (string, error)
}

// Env is an engine under the suite, with what somebody else can do to it. Names are to be used as Name gives them; what was made
// under such a name goes when the test ends.
type Env struct {
	Engine Engine
	Name   func(string) string
	// Create makes a container, without starting it, and gives its id.
	Create func(Spec) string
	// Image is an image with a shell, by its name or id.
	Image func() string
	// Remove removes a container, whatever it is doing.
	Remove func(id string)
	// Service makes a swarm service, on an engine that manages a swarm from then on, and gives its id.
	Service func(ServiceSpec) string
}

// Spec says which container to make. Its program ends at once when it is asked to.
type Spec struct {
	Name        string
	Labels      map[string]string
	Mounts      []engine.Mount // Volume or Source, and Destination
	VolumesFrom string         // id of another container whose mounts it has too
	AutoRemove  bool
	StopTimeout time.Duration
}

// ServiceSpec says which swarm service to make. Its tasks' program ends at once when it is asked to.
type ServiceSpec struct {
	Name        string
	Global      bool
	Replicas    uint64
	Mounts      []engine.Mount
	StopTimeout time.Duration
}

// suite is one test on one engine.
type suite struct {
	*testing.T
	Env
}

// Run puts an engine through all tests of the suite, in an environment of its own each.
func Run(t *testing.T, open func(*testing.T) Env) {
	for name, test := range map[string]func(*suite){
		"a volume is what it was created as":           (*suite).volumeIsAsCreated,
		"nothing is created over a volume":             (*suite).createdOnce,
		"a mounted volume is not removed":              (*suite).mountedVolumeStays,
		"what is not there is not found":               (*suite).notFound,
		"a name is never an address":                   (*suite).nameIsNoAddress,
		"a container goes through its states":          (*suite).states,
		"a call in the wrong state is told apart":      (*suite).wrongState,
		"a container shows what decides how to hold":   (*suite).fields,
		"every way of mounting a volume shows":         (*suite).mounts,
		"a stop removes a container that asked for it": (*suite).autoRemove,
		"a command's end and words come back":          (*suite).execResult,
		"a command's input ends when it should":        (*suite).execInput,
		"a command cannot be ended from outside":       (*suite).execGoesOn,
		"a command dies with its container":            (*suite).execKilled,
		"a command needs a container that runs":        (*suite).execState,
		"a trial runs and tells":                       (*suite).trialRuns,
		"a trial needs its image":                      (*suite).trialNeedsItsImage,
		"events are seen, and seen again":              (*suite).eventsAreSeen,
		"events end with their context":                (*suite).eventsEnd,
		"a context that ended stops a call":            (*suite).endedContext,
		"a service shows what decides how to scale it": (*suite).serviceFields,
		"a service is scaled to nothing and back":      (*suite).serviceScales,
		"a service is scaled from what it was alone":   (*suite).serviceConflicts,
	} {
		t.Run(name, func(t *testing.T) { test(&suite{t, open(t)}) })
	}
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) want(err, class error, what string) {
	s.Helper()
	if !errors.Is(err, class) {
		s.Errorf("%s: %v, want: %v", what, err, class)
	}
}

// volume makes a volume.
func (s *suite) volume(name string) engine.Volume {
	s.Helper()
	v, err := s.Engine.CreateVolume(s.Context(), engine.Volume{Name: s.Name(name)})
	s.must(err)
	return v
}

// run makes a container and starts it.
func (s *suite) run(spec Spec) string {
	s.Helper()
	id := s.Create(spec)
	s.must(s.Engine.Start(s.Context(), id))
	return id
}

func (s *suite) state(id string) engine.State {
	s.Helper()
	c, err := s.Engine.Container(s.Context(), id)
	s.must(err)
	return c.State
}

func (s *suite) volumeIsAsCreated() {
	asked := engine.Volume{Name: s.Name("v"), Labels: map[string]string{"backupd.enable": "true", "odd": "line\nbreak, \"quote\" ü"}}
	made, err := s.Engine.CreateVolume(s.Context(), asked)
	s.must(err)
	if made.Name != asked.Name || made.Driver != "local" || !maps.Equal(made.Labels, asked.Labels) || made.Mountpoint == "" {
		s.Errorf("created %+v, asked for %+v", made, asked)
	}
	seen, err := s.Engine.Volume(s.Context(), asked.Name)
	s.must(err)
	all, err := s.Engine.Volumes(s.Context())
	s.must(err)
	i := slices.IndexFunc(all, func(v engine.Volume) bool { return v.Name == asked.Name })
	if i < 0 {
		s.Fatalf("it is not listed: %+v", all)
	}
	for how, v := range map[string]engine.Volume{"inspected": seen, "listed": all[i]} {
		if v.Name != made.Name || v.Driver != made.Driver || !maps.Equal(v.Labels, made.Labels) || v.Mountpoint != made.Mountpoint {
			s.Errorf("%s it is %+v, created as %+v", how, v, made)
		}
	}
	s.must(s.Engine.RemoveVolume(s.Context(), asked.Name))
	_, err = s.Engine.Volume(s.Context(), asked.Name)
	s.want(err, engine.ErrNotFound, "inspect a removed volume")
}

func (s *suite) createdOnce() {
	v := s.volume("v")
	for what, again := range map[string]engine.Volume{
		"the same":          {Name: v.Name},
		"with other labels": {Name: v.Name, Labels: map[string]string{"a": "b"}},
		"with options":      {Name: v.Name, Options: map[string]string{"type": "tmpfs", "device": "tmpfs"}},
	} {
		_, err := s.Engine.CreateVolume(s.Context(), again)
		s.want(err, engine.ErrConflict, "create "+what)
	}
	if _, err := s.Engine.CreateVolume(s.Context(), engine.Volume{}); err == nil {
		s.Error("created a volume without a name")
	}
}

func (s *suite) mountedVolumeStays() {
	v := s.volume("v")
	id := s.Create(Spec{Name: "c", Mounts: []engine.Mount{{Volume: v.Name, Destination: "/v"}}})
	s.want(s.Engine.RemoveVolume(s.Context(), v.Name), engine.ErrConflict, "remove a mounted volume")
	s.Remove(id)
	s.must(s.Engine.RemoveVolume(s.Context(), v.Name))
}

func (s *suite) notFound() {
	ctx, name := s.Context(), s.Name("absent")
	_, err := s.Engine.Volume(ctx, name)
	s.want(err, engine.ErrNotFound, "inspect volume")
	s.want(s.Engine.RemoveVolume(ctx, name), engine.ErrNotFound, "remove volume")
	_, err = s.Engine.Container(ctx, name)
	s.want(err, engine.ErrNotFound, "inspect container")
	s.want(s.Engine.Pause(ctx, name), engine.ErrNotFound, "pause")
	s.want(s.Engine.Unpause(ctx, name), engine.ErrNotFound, "unpause")
	s.want(s.Engine.Stop(ctx, name, 0), engine.ErrNotFound, "stop")
	s.want(s.Engine.Start(ctx, name), engine.ErrNotFound, "start")
}

func (s *suite) nameIsNoAddress() {
	id := s.Create(Spec{Name: "c"})
	for _, name := range []string{"", ".", "..", "../containers/" + id, "x/../../containers/" + id} {
		s.want(s.Engine.RemoveVolume(s.Context(), name), engine.ErrNotFound, "remove volume "+name)
		_, err := s.Engine.Volume(s.Context(), name)
		s.want(err, engine.ErrNotFound, "inspect volume "+name)
		s.want(s.Engine.Stop(s.Context(), name, 0), engine.ErrNotFound, "stop container "+name)
	}
	if got := s.state(id); got != engine.Created {
		s.Errorf("the container is %s", got)
	}
}
