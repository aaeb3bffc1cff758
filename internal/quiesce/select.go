package quiesce

import (
	"fmt"
	"strings"

	"github.com/backupd/backupd/internal/engine"
)

// Plan is what a request means for the containers that there are.
type Plan struct {
	Steps  []Step             // containers to hold, in this order
	Paused []engine.Container // held already by somebody else, and not ours to resume
	Active []engine.Container // left to run, as the mode is None
}

// Step is one container to hold.
type Step struct {
	Container engine.Container // as it was found
	How       Mode             // Pause or Stop
}

const swarmTask = "com.docker.swarm.task.id"

// Select decides which containers a request holds, how, and in which order: apps before what they depend on. The container whose
// id begins with self is left out, and so is each without processes.
func Select(req Request, containers []engine.Container, self string) (Plan, error) {
	if err := req.mode().check(); err != nil {
		return Plan{}, err
	}
	var plan Plan
	for _, c := range inOrder(containers) {
		switch {
		case !c.Active() || isSelf(c.ID, self) || !req.concerns(c):
		case req.Readers:
			if err := stoppable(c); err != nil {
				return Plan{}, err
			}
			plan.Steps = append(plan.Steps, Step{c, Stop})
		case c.State == engine.Paused:
			plan.Paused = append(plan.Paused, c)
		case req.Mode == None:
			plan.Active = append(plan.Active, c)
		default:
			plan.Steps = append(plan.Steps, Step{c, how(c, req.Mode)})
		}
	}
	return plan, nil
}

func isSelf(id, self string) bool { return self != "" && strings.HasPrefix(id, self) }

// how softens what would do lasting harm, and avoids what the engine refuses: it cannot pause a container between two attempts to
// restart it, which has no process that a stop could hurt.
func how(c engine.Container, wanted Mode) Mode {
	switch {
	case c.State == engine.Restarting:
		return Stop
	case c.AutoRemove || c.Labels[swarmTask] != "":
		return Pause
	}
	return wanted
}

// stoppable tells why a container cannot be stopped and brought back as it was.
func stoppable(c engine.Container) error {
	switch {
	case c.AutoRemove:
		return fmt.Errorf("container %q uses the volume and would be deleted when stopped (--rm): stop it first", c.Name)
	case c.Labels[swarmTask] != "":
		return fmt.Errorf("container %q uses the volume and swarm would replace it when stopped: scale its service to 0 first", c.Name)
	case c.State == engine.Paused:
		return fmt.Errorf("container %q uses the volume and is paused: unpause or stop it first", c.Name)
	}
	return nil
}
