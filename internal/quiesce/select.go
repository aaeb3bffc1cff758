package quiesce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/backupd/backupd/internal/engine"
)

// Plan is what a request means for the containers that there are.
type Plan struct {
	Steps  []Step             // containers to hold, in this order
	Paused []engine.Container // held already by somebody else, and not ours to resume
	Active []engine.Container // left to run, as the mode is None
	Doors  []engine.Container // left to run, as the engine is reached through them
	Hooked []Hooked           // to run hooks in, in this order, before any step
}

// Step is one container to hold, or one swarm service.
type Step struct {
	Container engine.Container // as it was found; of a service, its id, name and stop time-out stand here
	How       How              // Pause, Stop or Scale

	Replicas uint64   `json:",omitempty"` // that a service had, to be put back
	Tasks    []string `json:",omitempty"` // ids of the containers that end with the service
}

// what names what the step is for.
func (s Step) what() string {
	if s.How == Scale {
		return fmt.Sprintf("service %q", s.Container.Name)
	}
	return fmt.Sprintf("container %q", s.Container.Name)
}

// Scene is what a plan is made in.
type Scene struct {
	Containers []engine.Container
	Services   map[string]engine.Service // by id, those that the request would scale
	Self       string                    // id of the container that this program runs in, or a prefix of it; "" outside of containers
	Door       Door
}

// Prepare looks up what Select needs beyond the containers, and selects.
func Prepare(ctx context.Context, eng Engine, req Request, in Scene) (plan Plan, err error) {
	if in.Containers, err = answered(ctx, eng, req, in.Containers); err != nil {
		return Plan{}, err
	}
	if in.Services, err = services(ctx, eng, req, in.Containers); err != nil {
		return Plan{}, err
	}
	return Select(req, in)
}

// answered waits for what the engine says of containers that matter to the request and that it did not answer about at first.
func answered(ctx context.Context, eng Engine, req Request, containers []engine.Container) (known []engine.Container, err error) {
	for _, c := range containers {
		if c.Mute && req.concerns(c) {
			name := c.Name
			c, err = eng.Container(ctx, c.ID)
			if errors.Is(err, engine.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("container %q uses the volume, and the engine does not say what it is doing: "+
					"if docker inspect hangs for it, too, restart the engine: %w", name, err)
			}
		}
		known = append(known, c)
	}
	return known, nil
}

// Select decides which containers a request holds, how, and in which order: apps before what they depend on. The container of this
// program is left out, what the engine is reached through, and each without processes. A container that matters and is mute is taken for
// one that runs: see Prepare.
func Select(req Request, in Scene) (Plan, error) {
	if err := req.mode().check(); err != nil {
		return Plan{}, err
	}
	var plan Plan
	var err error
	if plan.Hooked, err = hooked(req, in); err != nil {
		return Plan{}, err
	}
	doors := in.Door.containers(in.Containers, in.Self)
	for _, c := range inOrder(in.Containers) {
		switch {
		case !c.Active() || isSelf(c.ID, in.Self) || !req.concerns(c):
		case isOneOf(c, doors) && req.Readers:
			return Plan{}, tooClose(c)
		case isOneOf(c, doors):
			plan.Doors = append(plan.Doors, c)
		case c.State == engine.Paused && !req.Readers:
			plan.Paused = append(plan.Paused, c)
		case req.mode() == None:
			plan.Active = append(plan.Active, c)
		default:
			step, err := req.step(c, in)
			if err != nil {
				return Plan{}, err
			}
			if i := slices.IndexFunc(doors, func(d engine.Container) bool { return slices.Contains(step.Tasks, d.ID) }); i >= 0 {
				return Plan{}, tooClose(doors[i])
			}
			plan.add(step)
		}
	}
	plan.Paused = slices.DeleteFunc(plan.Paused, func(c engine.Container) bool { // those end with their service
		return slices.ContainsFunc(plan.Steps, func(s Step) bool { return slices.Contains(s.Tasks, c.ID) })
	})
	return plan, nil
}

// add puts a step last, once for each service: its first task says where it stands.
func (p *Plan) add(s Step) {
	if slices.ContainsFunc(p.Steps, func(other Step) bool { return other.Container.ID == s.Container.ID }) {
		return
	}
	p.Steps = append(p.Steps, s)
}

// step is how one container is held.
func (r Request) step(c engine.Container, in Scene) (Step, error) {
	if r.Readers {
		if err := stoppable(c); err != nil {
			return Step{}, err
		}
	}
	if r.scales(c) {
		return scaling(c, in)
	}
	return Step{Container: c, How: how(c, r.mode())}, nil
}

func isOneOf(c engine.Container, some []engine.Container) bool {
	return slices.ContainsFunc(some, func(other engine.Container) bool { return other.ID == c.ID })
}

func isSelf(id, self string) bool { return self != "" && strings.HasPrefix(id, self) }

// how softens what would do lasting harm, and avoids what the engine refuses: it cannot pause a container between two attempts to
// restart it, which has no process that a stop could hurt.
func how(c engine.Container, wanted Mode) How {
	switch {
	case c.State == engine.Restarting:
		return Stop
	case c.AutoRemove:
		return Pause
	}
	return How(wanted)
}

// stoppable tells why a container cannot be stopped and brought back as it was.
func stoppable(c engine.Container) error {
	switch {
	case c.AutoRemove:
		return fmt.Errorf("container %q uses the volume and would be deleted when stopped (--rm): stop it first", c.Name)
	case c.State == engine.Paused:
		return fmt.Errorf("container %q uses the volume and is paused: unpause or stop it first", c.Name)
	}
	return nil
}
