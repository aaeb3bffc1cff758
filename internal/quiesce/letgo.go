package quiesce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// remedy is what letting go of a container takes.
type remedy int

const (
	leave remedy = iota // nothing: it runs, or is as somebody else wants it
	wait                // look again: a call may yet take effect
	unpause
	start
	probe // see frozen.go
)

// remedy decides what to do about a container that is as c is now. A container that somebody resumed, or resumed and ended again, is
// theirs. One that was paused and has ended was stopped by somebody, unless the engine went down (unseen: the events broke off).
func (t *held) remedy(c engine.Container, unseen bool, now time.Time) remedy {
	untouched := t.Container.Started.IsZero() || c.Started.Equal(t.Container.Started)
	switch {
	case t.How == Pause && c.State == engine.Paused:
		return unpause
	case c.State == engine.Exited && untouched && (t.How == Stop || t.ended || unseen):
		return start
	case c.Active() && now.Before(t.pending):
		return wait
	case t.How == Pause && c.State == engine.Running && t.silent:
		return probe
	}
	return leave
}

// letGo lets go of all that is held, last held first, in rounds, so that one that cannot be resumed yet keeps no other waiting.
func (h *Hold) letGo(ctx context.Context) error {
	const firstPause, longestPause = 100 * time.Millisecond, 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, h.patience())
	defer cancel()
	left := slices.Clone(h.held)
	slices.Reverse(left)
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		left = slices.DeleteFunc(left, func(t *held) bool { return h.attempt(ctx, t) })
		if len(left) == 0 {
			break
		}
		select {
		case <-time.After(pause):
			continue
		case <-ctx.Done():
		}
		break
	}
	var errs []error
	for _, t := range h.held {
		errs = append(errs, t.err)
	}
	return errors.Join(errs...)
}

// patience is how long letting go is tried: an engine that restarts is back by then, and all calls have taken effect or never will.
func (h *Hold) patience() time.Duration {
	const restart = 2 * time.Minute
	longest := time.Duration(0)
	for _, t := range h.held {
		longest = max(longest, t.pending.Sub(h.keeper.now()))
	}
	return restart + longest
}

// attempt tries once to let a container go, and tells whether there is nothing left to try: an engine that does not answer is asked
// again for as long as patience lasts, one that refuses only some times.
func (h *Hold) attempt(ctx context.Context, t *held) (done bool) {
	const refusals = 8
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	done, t.err = h.giveBack(ctx, t)
	if t.err != nil && !errors.Is(t.err, engine.ErrUnreachable) && !errors.Is(t.err, engine.ErrNoManager) && ctx.Err() == nil {
		t.refused++
	}
	done = done && t.err == nil || t.refused == refusals
	t.lasted = h.keeper.now().Sub(t.since)
	if done && t.err == nil {
		h.keeper.log.Debug("container let go", "container", t.Container.Name, "held", t.lasted)
	}
	return done
}

// giveBack looks at the container, or at what took its place, and acts.
func (h *Hold) giveBack(ctx context.Context, t *held) (done bool, err error) {
	if t.How == Scale {
		return h.putBack(ctx, t)
	}
	c, err := h.keeper.eng.Container(ctx, t.Container.ID)
	if errors.Is(err, engine.ErrNotFound) {
		return h.giveBackSuccessor(ctx, t)
	}
	if err != nil {
		return false, fmt.Errorf("look at container %q: %w", t.Container.Name, err)
	}
	unseen := t.How == Pause && c.State == engine.Exited && h.unseen(ctx, t)
	switch t.remedy(c, unseen, h.keeper.now()) {
	case wait:
		return false, nil
	case unpause:
		err = h.resume(ctx, t, c, "unpause", h.keeper.eng.Unpause)
	case start:
		err = h.resume(ctx, t, c, "start", h.keeper.eng.Start)
	case probe:
		return h.probe(ctx, t, c)
	}
	return true, err
}

func (h *Hold) resume(ctx context.Context, t *held, c engine.Container, verb string, call func(context.Context, string) error) error {
	h.watch.expect(c, leaving)
	t.resumed = true
	if err := call(ctx, c.ID); err != nil {
		return fmt.Errorf("%s container %q: %w", verb, c.Name, err)
	}
	return nil
}

// giveBackSuccessor starts the container that took the place of one that is gone, where that one was found stopped by us and so its
// successor was made and not started.
func (h *Hold) giveBackSuccessor(ctx context.Context, t *held) (done bool, err error) {
	if t.How != Stop {
		return true, nil
	}
	containers, err := h.keeper.eng.Containers(ctx)
	if err != nil {
		return false, fmt.Errorf("look for what replaced container %q: %w", t.Container.Name, err)
	}
	c, ok := successor(t.Container, containers)
	if !ok || c.State != engine.Created {
		return true, nil
	}
	return true, h.resume(ctx, t, c, "start", h.keeper.eng.Start)
}

const composeNumber = "com.docker.compose.container-number"

// successor is the container that took the place of one that is gone: of its name, else of its number in its compose service.
func successor(gone engine.Container, among []engine.Container) (engine.Container, bool) {
	for _, c := range among {
		if c.Name == gone.Name {
			return c, true
		}
	}
	for _, c := range among {
		if gone.Service() != "" && c.Project() == gone.Project() && c.Service() == gone.Service() &&
			c.Labels[composeNumber] == gone.Labels[composeNumber] {
			return c, true
		}
	}
	return engine.Container{}, false
}
