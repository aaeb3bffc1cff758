package quiesce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// Checked is a container with a health check that said it was healthy before it was held.
type Checked struct{ ID, Name string }

// checked are the containers of a hold whose health is worth waiting for.
func (h *Hold) checked() (all []Checked) {
	for _, t := range h.held {
		if t.Container.Health == engine.Healthy {
			all = append(all, Checked{t.Container.ID, t.Container.Name})
		}
	}
	return all
}

// Looker looks a container up.
type Looker interface {
	Container(ctx context.Context, id string) (engine.Container, error)
}

// AwaitHealth waits until containers that were let go are as healthy again as they were, at most for a limit, and tells which are not and
// why. A pause makes an engine call a container unhealthy until the next check, so that takes up to one interval. One that is gone, or
// does not run any more, is somebody else's business.
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

// unhealthy tells what speaks against a container being healthy.
func unhealthy(ctx context.Context, eng Looker, c Checked) string {
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
