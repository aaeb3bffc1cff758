package enginetest

import (
	"context"
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
	s.must(s.Engine.Scale(s.Context(), id, 2, 0))
	s.tasks(id, 0)
	s.must(s.Engine.Scale(s.Context(), id, 0, 2))
	s.tasks(id, 2)
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
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		var active []engine.Container
		all, err := s.Engine.Containers(ctx)
		s.must(err)
		for _, c := range all {
			if c.SwarmService() == id && c.Active() {
				active = append(active, c)
			}
		}
		if len(active) == want {
			return active
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.Fatalf("the service has %d containers, want %d", len(active), want)
		}
	}
}
