package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"github.com/backupd/backupd/internal/engine"
)

// Service looks a swarm service up by its id or name. An engine that manages no swarm is engine.ErrNoManager.
func (c *Client) Service(ctx context.Context, id string) (engine.Service, error) {
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	answer, err := c.service(ctx, id)
	if err != nil {
		return engine.Service{}, fmt.Errorf("inspect service %q: %w", id, err)
	}
	return serviceOf(answer), nil
}

// Tasks counts the tasks of a service, which is named by its id.
func (c *Client) Tasks(ctx context.Context, service string) (engine.Tasks, error) {
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	list, err := c.api.ServiceList(ctx, swarm.ServiceListOptions{Status: true, Filters: filters.NewArgs(filters.Arg("id", service))})
	if err != nil {
		return engine.Tasks{}, fmt.Errorf("count the tasks of service %q: %w", service, c.sortedService(ctx, err))
	}
	for _, s := range list {
		switch {
		case s.ID != service: // the filter is one for prefixes
		case s.ServiceStatus == nil:
			return engine.Tasks{}, fmt.Errorf("count the tasks of service %q: the engine does not tell", service)
		default:
			return engine.Tasks{Running: s.ServiceStatus.RunningTasks, Wanted: s.ServiceStatus.DesiredTasks}, nil
		}
	}
	return engine.Tasks{}, fmt.Errorf("count the tasks of service %q: %w", service, engine.ErrNotFound)
}

// Scale sets how many tasks a replicated service should have, if it should have as many as expected until now; else it is
// engine.ErrConflict. It does not wait for the tasks.
func (c *Client) Scale(ctx context.Context, id string, from, to uint64) error {
	const tries = 5
	ctx, cancel := bounded(ctx, answerLimit)
	defer cancel()
	var err error
	for range tries {
		if err = c.scale(ctx, id, from, to); !errors.Is(err, errStale) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("scale service %q from %d to %d: %w", id, from, to, err)
	}
	return nil
}

// errStale says that somebody else updated the service between the look at it and the update.
var errStale = errors.New("it is being updated by somebody else")

func (c *Client) scale(ctx context.Context, id string, from, to uint64) error {
	now, err := c.service(ctx, id)
	if err != nil {
		return err
	}
	switch s := serviceOf(now); {
	case s.Kind != engine.Replicated:
		return fmt.Errorf("%w: it is %s", engine.ErrConflict, s.Kind)
	case s.Replicas != from:
		return fmt.Errorf("%w: it should have %d tasks", engine.ErrConflict, s.Replicas)
	}
	now.Spec.Mode.Replicated.Replicas = &to
	_, err = c.api.ServiceUpdate(ctx, now.ID, now.Version, now.Spec, swarm.ServiceUpdateOptions{})
	if err != nil && strings.Contains(err.Error(), "update out of sequence") { // engines tell it in no other way
		return fmt.Errorf("%w: %w", errStale, err)
	}
	return c.sortedService(ctx, err)
}

func (c *Client) service(ctx context.Context, id string) (swarm.Service, error) {
	if err := segment(id); err != nil {
		return swarm.Service{}, err
	}
	answer, _, err := c.api.ServiceInspectWithRaw(ctx, id, swarm.ServiceInspectOptions{})
	return answer, c.sortedService(ctx, err)
}

// sortedService knows in addition how engines refuse calls that only a manager of a swarm can answer.
func (c *Client) sortedService(ctx context.Context, err error) error {
	if errdefs.IsUnavailable(err) {
		return fmt.Errorf("%w: %w", engine.ErrNoManager, err)
	}
	return c.sorted(ctx, err)
}

func serviceOf(answer swarm.Service) engine.Service {
	s := engine.Service{ID: answer.ID, Name: answer.Spec.Name, StopTimeout: defaultStop}
	switch mode := answer.Spec.Mode; {
	case mode.Global != nil:
		s.Kind = engine.Global
	case mode.ReplicatedJob != nil:
		s.Kind = engine.ReplicatedJob
	case mode.GlobalJob != nil:
		s.Kind = engine.GlobalJob
	case mode.Replicated != nil && mode.Replicated.Replicas != nil:
		s.Kind, s.Replicas = engine.Replicated, *mode.Replicated.Replicas
	}
	if spec := answer.Spec.TaskTemplate.ContainerSpec; spec != nil && spec.StopGracePeriod != nil {
		s.StopTimeout = min(max(*spec.StopGracePeriod, 0), longestStop*time.Second)
	}
	return s
}
