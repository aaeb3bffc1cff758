package enginetest

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// service is a swarm service of the fake, and what its tasks are made from.
type service struct {
	engine.Service
	task Container
}

// AddService makes a swarm service with as many tasks as it should have; a global one has one. A task is made like the container, with
// a name of its own.
func (w *world) AddService(s engine.Service, task Container) engine.Service {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.ID == "" {
		s.ID = "service-" + s.Name
	}
	if s.Kind == "" {
		s.Kind = engine.Replicated
	}
	made := &service{Service: s, task: task}
	w.services[s.ID] = made
	w.reconcile(made, 0)
	return s
}

// RemoveService removes a service with its tasks.
func (w *world) RemoveService(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.services[id]
	delete(w.services, id)
	s.Kind, s.Replicas = engine.Replicated, 0
	w.reconcile(s, 0)
}

// NoManager makes the engine one that manages no swarm (any more), or again one that does.
func (w *world) NoManager(gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noManager = gone
}

// Service looks a swarm service up.
func (f *Fake) Service(ctx context.Context, id string) (seen engine.Service, err error) {
	err = f.call(ctx, "inspect service "+id, func() error {
		s, err := f.findService(id)
		if err != nil {
			return fmt.Errorf("inspect %w", err)
		}
		seen = s.Service
		return nil
	})
	return seen, err
}

// Tasks counts the tasks of a service.
func (f *Fake) Tasks(ctx context.Context, id string) (tasks engine.Tasks, err error) {
	err = f.call(ctx, "count tasks of service "+id, func() error {
		s, err := f.findService(id)
		if err != nil {
			return fmt.Errorf("count tasks of %w", err)
		}
		tasks.Wanted = s.Replicas
		for _, c := range f.containers {
			if c.SwarmService() == s.ID && c.State == engine.Running && (c.Health == "" || c.Health == engine.Healthy) {
				tasks.Running++
			}
		}
		return nil
	})
	return tasks, err
}

// Scale sets how many tasks a service should have.
func (f *Fake) Scale(ctx context.Context, id string, from, to uint64) error {
	return f.call(ctx, fmt.Sprintf("scale service %s to %d", id, to), func() error {
		s, err := f.findService(id)
		switch {
		case err != nil:
			return fmt.Errorf("scale %w", err)
		case s.Kind != engine.Replicated || s.Replicas != from:
			return fmt.Errorf("scale service %q: %w: it is %s with %d tasks", id, engine.ErrConflict, s.Kind, s.Replicas)
		}
		s.Replicas = to
		f.reconcile(s, f.Dispatch)
		return nil
	})
}

// --- what follows is called with the lock held ---

func (w *world) findService(id string) (*service, error) {
	if w.noManager {
		return nil, fmt.Errorf("service %q: %w", id, engine.ErrNoManager)
	}
	for _, s := range w.services {
		if s.ID == id || s.Name == id {
			return s, nil
		}
	}
	return nil, fmt.Errorf("service %q: %w", id, engine.ErrNotFound)
}

// reconcile gives a service the tasks that it should have: the newest go first, and those that ended stay as they are.
func (w *world) reconcile(s *service, dispatch time.Duration) {
	var active []*Container
	for _, c := range w.containers {
		if c.SwarmService() == s.ID && c.Active() && !c.ending {
			active = append(active, c)
		}
	}
	wanted := int(s.Replicas)
	if s.Kind == engine.Global {
		wanted = 1
	}
	for ; len(active) > wanted; active = active[:len(active)-1] {
		w.endTask(active[len(active)-1], dispatch)
	}
	for n := len(active); n < wanted; n++ {
		w.addContainer(w.newTask(s))
	}
}

func (w *world) endTask(c *Container, dispatch time.Duration) {
	if dispatch == 0 {
		w.end(c)
		return
	}
	c.ending = true
	time.AfterFunc(dispatch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.end(c)
	})
}

// newTask is a container for a task of the service, the first or another.
func (w *world) newTask(s *service) Container {
	made := s.task
	task := fmt.Sprintf("task-%d", w.made+1)
	made.Name = fmt.Sprintf("%s.%s", s.Name, task)
	made.Labels = maps.Clone(made.Labels)
	if made.Labels == nil {
		made.Labels = map[string]string{}
	}
	maps.Copy(made.Labels, map[string]string{
		"com.docker.swarm.service.id": s.ID, "com.docker.swarm.service.name": s.Name, "com.docker.swarm.task.id": task,
	})
	return made
}

// replace gives a service another task for one that has ended.
func (w *world) replace(ended *Container) {
	if s := w.services[ended.SwarmService()]; s != nil {
		w.reconcile(s, 0)
	}
}
