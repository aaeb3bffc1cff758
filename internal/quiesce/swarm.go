package quiesce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// Swarm replaces a task that is stopped within seconds. So, to stop what uses a volume, a service is told to have no tasks, and gets its
// old count back afterwards; but only from nothing, as any other count is somebody's wish since.

// dispatch is the longest that swarm takes to pass a new count on to where its tasks are; 3 s were measured.
const dispatch = 15 * time.Second

// scaling is the step that stops all tasks of the container's service.
func scaling(c engine.Container, in Scene) (Step, error) {
	s, known := in.Services[c.SwarmService()]
	switch {
	case !known:
		return Step{}, fmt.Errorf("container %q uses the volume as a task of an unknown swarm service, and swarm would replace it when stopped: "+
			"only pause can hold it", c.Name)
	case s.Kind != engine.Replicated:
		return Step{}, fmt.Errorf("container %q uses the volume as a task of swarm service %q (%s), which cannot be scaled to nothing: "+
			"only pause can hold it, and for a restore the service has to be removed first", c.Name, s.Name, s.Kind)
	}
	step := Step{
		Container: engine.Container{ID: s.ID, Name: s.Name, StopTimeout: s.StopTimeout},
		How:       Scale,
		Replicas:  s.Replicas,
	}
	for _, task := range tasks(s.ID, in.Containers) {
		step.Tasks = append(step.Tasks, task.ID)
	}
	return step, nil
}

// tasks are the containers of a service that have processes.
func tasks(service string, among []engine.Container) []engine.Container {
	return slices.DeleteFunc(slices.Clone(among), func(c engine.Container) bool { return c.SwarmService() != service || !c.Active() })
}

// scales tells whether the request stops the container, and that takes its service to be scaled.
func (r Request) scales(c engine.Container) bool {
	return r.mode() == Stop && c.Task() && c.Active() && r.concerns(c)
}

// services looks up the services that the request would scale. What an engine refuses to tell, as a worker of a swarm does, makes the
// request impossible.
func services(ctx context.Context, eng Engine, req Request, containers []engine.Container) (map[string]engine.Service, error) {
	found := make(map[string]engine.Service)
	for _, c := range containers {
		id := c.SwarmService()
		if _, known := found[id]; known || !req.scales(c) {
			continue
		}
		s, err := eng.Service(ctx, id)
		if errors.Is(err, engine.ErrNotFound) { // removed just now, and its tasks are ending
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("stop container %q, which takes its swarm service to be scaled to nothing: %w", c.Name, err)
		}
		found[id] = s
	}
	return found, nil
}

// scaleDown tells the service to have no tasks, and waits until it has none here.
func (h *Hold) scaleDown(ctx context.Context, t *held) (ours bool, err error) {
	if ours, err = h.askForNone(ctx, t); !ours || err != nil {
		return ours, err
	}
	// Letting go before the last task ended would have two of them on the same data.
	t.pending = h.keeper.unsettled(t.Step, h.keeper.now())
	if err := h.awaitEnd(ctx, t); err != nil {
		return true, err
	}
	t.pending = time.Time{}
	return true, nil
}

// askForNone sets the count to nothing. Like settle it believes the state of the service and not the answer.
func (h *Hold) askForNone(ctx context.Context, t *held) (ours bool, _ error) {
	ctx, cancel := context.WithTimeout(ctx, 2*answer)
	defer cancel()
	if t.Replicas == 0 { // somebody else has, and its tasks are ending
		return true, nil
	}
	err := h.keeper.eng.Scale(ctx, t.Container.ID, t.Replicas, 0)
	if err == nil {
		return true, nil
	}
	s, lookErr := h.keeper.eng.Service(ctx, t.Container.ID)
	conflict := errors.Is(err, engine.ErrConflict)
	asked := !t.pending.IsZero() // before, and the answer was not to be trusted
	switch {
	case errors.Is(lookErr, engine.ErrNotFound): // removed just now
		return false, nil
	case lookErr == nil && s.Replicas == 0 && (asked || !conflict):
		return true, nil
	case lookErr == nil && conflict && !asked: // somebody else was faster
		return false, nil
	}
	t.pending = h.keeper.unsettled(t.Step, h.keeper.now())
	return true, errors.Join(err, lookErr)
}

// awaitEnd waits until no task of the service has processes here.
func (h *Hold) awaitEnd(ctx context.Context, t *held) error {
	const firstPause, longestPause = 50 * time.Millisecond, 500 * time.Millisecond
	ctx, cancel := context.WithDeadlineCause(ctx, t.pending.Add(answer), errors.New("its tasks do not end"))
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		containers, err := h.keeper.eng.Containers(ctx)
		if err != nil {
			return fmt.Errorf("wait for its tasks to end: %w", err)
		}
		if len(tasks(t.Container.ID, containers)) == 0 {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// putBack gives the service its old count, if it is still meant to have nothing.
func (h *Hold) putBack(ctx context.Context, t *held) (done bool, err error) {
	id, name := t.Container.ID, t.Container.Name
	s, err := h.keeper.eng.Service(ctx, id)
	if errors.Is(err, engine.ErrNotFound) || t.Replicas == 0 {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at service %q: %w", name, err)
	}
	unsettled := h.keeper.now().Before(t.pending)
	switch {
	case s.Kind != engine.Replicated:
		return true, nil
	case s.Replicas != 0: // a call to have none may yet take effect, as long as the count is what that call expects
		return !unsettled || s.Replicas != t.Replicas, nil
	case unsettled:
		containers, err := h.keeper.eng.Containers(ctx)
		if err != nil || len(tasks(id, containers)) > 0 {
			return false, err
		}
	}
	h.watch.expect(t.Container, leaving)
	t.resumed = true
	if err := h.keeper.eng.Scale(ctx, id, 0, t.Replicas); err != nil && !errors.Is(err, engine.ErrConflict) {
		return false, fmt.Errorf("scale service %q back to %d: %w", name, t.Replicas, err)
	}
	return true, nil
}
