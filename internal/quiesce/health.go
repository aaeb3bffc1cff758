package quiesce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// Checked is a container with a health check that said it was healthy before it was held, or a swarm service that got its tasks back.
type Checked struct {
	ID, Name string
	Replicas uint64 `json:",omitempty"` // of a service
}

// checked are the containers and services of a hold whose health is worth waiting for.
func (h *Hold) checked() (all []Checked) {
	for _, t := range h.held {
		if t.Container.Health == engine.Healthy || t.How == Scale && t.resumed {
			all = append(all, Checked{t.Container.ID, t.Container.Name, t.Replicas})
		}
	}
	return all
}

// Looker looks up how containers and services are.
type Looker interface {
	Container(ctx context.Context, id string) (engine.Container, error)
	Tasks(ctx context.Context, service string) (engine.Tasks, error)
}

// AwaitHealth waits until what was let go is as healthy again as it was, at most for a limit, and tells what is not and why. A pause
// makes an engine call a container unhealthy until the next check, so that takes up to one interval. What is gone, does not run any more,
// or has been scaled since, is somebody else's business.
func AwaitHealth(ctx context.Context, eng Looker, all []Checked, limit time.Duration) (problems []string) {
	const every = time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not within %s", limit))
	defer cancel()
	for _, c := range all {
		for {
			problem := unhealthy(ctx, eng, c)
			if problem == "" {
				break
			}
			select {
			case <-time.After(every):
				continue
			case <-ctx.Done():
			}
			problems = append(problems, fmt.Sprintf("%s (%v)", problem, context.Cause(ctx)))
			break
		}
	}
	return problems
}

// unhealthy tells what speaks against a container or a service being healthy.
func unhealthy(ctx context.Context, eng Looker, c Checked) string {
	if c.Replicas > 0 {
		return short(ctx, eng, c)
	}
	now, err := eng.Container(context.WithoutCancel(ctx), c.ID) // a last look is due to each, also when time is over
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return ""
	case err != nil:
		return fmt.Sprintf("container %q could not be looked at: %v", c.Name, err)
	case now.State != engine.Running || now.Health == engine.Healthy || now.Health == "":
		return ""
	}
	return fmt.Sprintf("container %q was healthy before it was held and is %s now", c.Name, now.Health)
}

// short tells how many tasks a service is short of.
func short(ctx context.Context, eng Looker, c Checked) string {
	tasks, err := eng.Tasks(context.WithoutCancel(ctx), c.ID)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return ""
	case err != nil:
		return fmt.Sprintf("service %q could not be looked at: %v", c.Name, err)
	case tasks.Wanted != c.Replicas || tasks.Running >= tasks.Wanted:
		return ""
	}
	return fmt.Sprintf("service %q was scaled back to %d tasks, of which %d run", c.Name, c.Replicas, tasks.Running)
}
