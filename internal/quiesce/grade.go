package quiesce

import (
	"fmt"
	"slices"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/snapshot"
)

// grade says how still the data was: cold when no process existed that could write, frozen when there were some and all were paused.
func grade(steps []Step, paused []engine.Container, reasons []string) snapshot.Grade {
	if len(reasons) > 0 {
		return snapshot.Fuzzy
	}
	if len(paused) > 0 {
		return snapshot.Frozen
	}
	for _, s := range steps {
		if s.How == Pause {
			return snapshot.Frozen
		}
	}
	return snapshot.Cold
}

// moved compares the containers of a hold with those that the engine has at its end, and tells what speaks against them having
// held still in between.
func moved(req Request, steps []Step, plan Plan, self string, after []engine.Container) []string {
	known := make(map[string]bool)
	now := make(map[string]engine.Container)
	for _, c := range after {
		now[c.ID] = c
	}
	var reasons []string
	for _, c := range plan.Paused {
		steps = append(steps[:len(steps):len(steps)], Step{Container: c, How: Pause})
	}
	for _, s := range steps {
		known[s.Container.ID] = true
		if s.How == Scale {
			reasons = append(reasons, s.refilled(after)...)
		} else if reason := s.moved(now); reason != "" {
			reasons = append(reasons, reason)
		}
	}
	for _, c := range slices.Concat(plan.Active, plan.Doors) {
		known[c.ID] = true
	}
	for _, c := range after {
		if c.Active() && !known[c.ID] && !isSelf(c.ID, self) && req.concerns(c) {
			reasons = append(reasons, fmt.Sprintf("container %q started meanwhile", c.Name))
		}
	}
	return reasons
}

// refilled tells which tasks a service has that was scaled to nothing.
func (s Step) refilled(after []engine.Container) (reasons []string) {
	for _, c := range tasks(s.Container.ID, after) {
		reasons = append(reasons, fmt.Sprintf("container %q was found %s, although service %q was scaled to nothing", c.Name, c.State, s.Container.Name))
	}
	return reasons
}

// moved tells what speaks against the container having held still, given those there are now by id.
func (s Step) moved(now map[string]engine.Container) string {
	c, there := now[s.Container.ID]
	switch {
	case !there && s.How == Stop: // removed, which needs no process
		return ""
	case !there:
		return fmt.Sprintf("container %q was removed while it was paused", s.Container.Name)
	case s.How == Pause && c.State != engine.Paused, s.How == Stop && c.Active():
		return fmt.Sprintf("container %q was found %s instead of held", c.Name, c.State)
	case !s.Container.Started.IsZero() && !c.Started.Equal(s.Container.Started):
		return fmt.Sprintf("container %q was started again by somebody else", c.Name)
	}
	return ""
}
