package enginetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

func (s *suite) serviceFields() {
	id := s.Service(ServiceSpec{Name: "s", Replicas: 2, StopTimeout: 7 * time.Second})
	byID, err := s.Engine.Service(s.Context(), id)
	s.must(err)
	byName, err := s.Engine.Service(s.Context(), s.Name("s"))
	s.must(err)
	want := engine.Service{ID: id, Name: s.Name("s"), Kind: engine.Replicated, Replicas: 2, StopTimeout: 7 * time.Second}
	if byID != want || byName != want {
		s.Errorf("it is %+v and %+v, want %+v", byID, byName, want)
	}
	global, err := s.Engine.Service(s.Context(), s.Service(ServiceSpec{Name: "g", Global: true}))
	s.must(err)
	if global.Kind != engine.Global {
		s.Errorf("the global one is %+v", global)
	}
	_, err = s.Engine.Service(s.Context(), s.Name("absent"))
	s.want(err, engine.ErrNotFound, "inspect an absent service")
	_, err = s.Engine.Service(s.Context(), "x/../"+id)
	s.want(err, engine.ErrNotFound, "inspect a service by an address")
}

func (s *suite) serviceScales() {
	v := s.volume("v")
	id := s.Service(ServiceSpec{Name: "s", Replicas: 2, Mounts: []engine.Mount{{Volume: v.Name, Destination: "/v"}}})
	for _, c := range s.tasks(id, 2) {
		if _, writes := c.Mounting(v); !writes || !c.Task() || c.SwarmServiceName() != s.Name("s") {
			s.Errorf("a task's container is %+v", c)
		}
	}
	s.count(id, engine.Tasks{Running: 2, Wanted: 2})
	s.must(s.Engine.Scale(s.Context(), id, 2, 0))
	s.tasks(id, 0)
	s.count(id, engine.Tasks{})
	s.must(s.Engine.Scale(s.Context(), id, 0, 2))
	s.tasks(id, 2)
	s.count(id, engine.Tasks{Running: 2, Wanted: 2})
	_, err := s.Engine.Tasks(s.Context(), id[:len(id)-1])
	s.want(err, engine.ErrNotFound, "count the tasks of an absent service")
}

// count waits until the engine counts so many tasks of the service: it does a while after their containers have changed.
func (s *suite) count(id string, want engine.Tasks) {
	s.Helper()
	s.eventually(fmt.Sprintf("the service has %+v tasks", want), func() bool {
		tasks, err := s.Engine.Tasks(s.Context(), id)
		s.must(err)
		return tasks == want
	})
}

func (s *suite) serviceConflicts() {
	ctx, id := s.Context(), s.Service(ServiceSpec{Name: "s", Replicas: 1})
	s.want(s.Engine.Scale(ctx, id, 2, 0), engine.ErrConflict, "scale from another count")
	s.want(s.Engine.Scale(ctx, s.Service(ServiceSpec{Name: "g", Global: true}), 0, 1), engine.ErrConflict, "scale a global service")
	s.want(s.Engine.Scale(ctx, s.Name("absent"), 1, 0), engine.ErrNotFound, "scale an absent service")
	if now, err := s.Engine.Service(ctx, id); err != nil || now.Replicas != 1 {
		s.Errorf("it should have %d tasks, %v", now.Replicas, err)
	}
}

// tasks waits until the service has that many active containers.
func (s *suite) tasks(id string, want int) []engine.Container {
	s.Helper()
	var active []engine.Container
	s.eventually(fmt.Sprintf("the service has %d containers", want), func() bool {
		all, err := s.Engine.Containers(s.Context())
		s.must(err)
		active = slices.DeleteFunc(all, func(c engine.Container) bool { return c.SwarmService() != id || !c.Active() })
		return len(active) == want
	})
	return active
}

func (s *suite) eventually(what string, holds func() bool) {
	s.Helper()
	for began := time.Now(); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			s.Fatalf("in time not: %s", what)
		}
	}
}
