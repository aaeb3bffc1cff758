package quiesce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// Checked is what has to be well again: a container with a health check that said it was healthy before it was held; one that was started
// on other data than it was stopped on; or a swarm service that got its tasks back.
type Checked struct {
	ID, Name  string
	Replicas  uint64 `json:",omitempty"` // of a service
	OtherData bool   `json:",omitempty"`
}

// checked are the containers and services of a hold whose health is worth waiting for.
func (h *Hold) checked() (all []Checked) {
	for _, t := range h.held {
		other := h.req.Readers && t.How == Stop && t.resumed
		if t.Container.Health == engine.Healthy || other || t.How == Scale && t.resumed {
			all = append(all, Checked{t.Container.ID, t.Container.Name, t.Replicas, other})
		}
	}
	return all
}

// Looker looks up how containers and services are.
type Looker interface {
	Container(ctx context.Context, id string) (engine.Container, error)
	Tasks(ctx context.Context, service string) (engine.Tasks, error)
}

// steady is how long a container without a health check has to run to be taken for well on other data.
const steady = 3 * time.Second

// AwaitHealth waits until what was let go is as healthy again as it was, at most for a limit, and tells what is not and why. A pause
// makes an engine call a container unhealthy until the next check, so that takes up to one interval. What is gone, does not run any more,
// or has been scaled since, is somebody else's business; but not a container that ends on other data.
func AwaitHealth(ctx context.Context, eng Looker, all []Checked, limit time.Duration) (problems []string) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not within %s", limit))
	defer cancel()
	for _, c := range all {
		if problem := await(ctx, eng, c); problem != "" {
			problems = append(problems, problem)
		}
	}
	return problems
}

// await waits for one to be healthy. Each gets a last look, also when time is over.
func await(ctx context.Context, eng Looker, c Checked) string {
	const every = time.Second
	var run time.Time // of the container
	for left := steady; ; {
		v := look(context.WithoutCancel(ctx), eng, c)
		switch {
		case v.quiet && !run.IsZero() && !v.run.Equal(run):
			return fmt.Sprintf("container %q ended and was started anew", c.Name)
		case v.ended, v.problem == "" && (!v.quiet || left <= 0):
			return v.problem
		case v.quiet:
			left -= every
		}
		if v.quiet {
			run = v.run
		}
		select {
		case <-time.After(every):
			continue
		case <-ctx.Done():
		}
		if v.problem == "" {
			return ""
		}
		return fmt.Sprintf("%s (%v)", v.problem, context.Cause(ctx))
	}
}

// view is what a look at a container or a service has shown.
type view struct {
	problem string    // what speaks against its being healthy
	ended   bool      // and it will not be by itself
	quiet   bool      // it runs, and does not say how well
	run     time.Time // when it was started, where that has to stay
}

func look(ctx context.Context, eng Looker, c Checked) view {
	if c.Replicas > 0 {
		return view{problem: short(ctx, eng, c)}
	}
	now, err := eng.Container(ctx, c.ID)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return view{}
	case err != nil:
		return view{problem: fmt.Sprintf("container %q could not be looked at: %v", c.Name, err)}
	case c.OtherData && (now.State == engine.Exited || now.State == engine.Dead):
		return view{problem: fmt.Sprintf("container %q has ended", c.Name), ended: true}
	case c.OtherData && now.State == engine.Restarting:
		return view{problem: fmt.Sprintf("container %q ends over and over", c.Name)}
	case now.State != engine.Running || now.Health == engine.Healthy:
		return view{}
	case now.Health == "" && c.OtherData:
		return view{quiet: true, run: now.Started}
	case now.Health == "":
		return view{}
	case c.OtherData:
		return view{problem: fmt.Sprintf("container %q is %s", c.Name, now.Health)}
	}
	return view{problem: fmt.Sprintf("container %q was healthy before it was held and is %s now", c.Name, now.Health)}
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
