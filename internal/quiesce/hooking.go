package quiesce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// hooking is what a hold does with the hooks of its containers.
type hooking struct {
	begun    []Hooked   // containers that are owed their post-hook
	sessions []*command // that live as long as the hold
	minding  sync.WaitGroup
	ended    []*command // in order
	pending  time.Time  // until then, a pre-hook that nobody knows of may yet begin
}

// prepare runs what is to be run before any container is held: no command can be run in one that is. Those that others depend on come
// last, as with holding.
func (h *Hold) prepare(ctx context.Context, found []Hooked) error {
	if len(h.held) > 0 {
		return fmt.Errorf("container %q has hooks and started while others were being held: try again later", found[0].Container.Name)
	}
	for _, k := range found {
		if err := h.pre(ctx, k); err != nil {
			return err
		}
	}
	for _, k := range found {
		if err := h.during(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// subtractHooked gives the containers of the plan whose hooks have not been begun.
func (h *Hold) subtractHooked() []Hooked {
	return slices.DeleteFunc(slices.Clone(h.plan.Hooked), func(k Hooked) bool {
		return slices.ContainsFunc(h.hooks.begun, func(b Hooked) bool { return b.Container.ID == k.Container.ID })
	})
}

// pre begins with the hooks of a container. From here on it is owed its post-hook, by whoever finds the journal too.
func (h *Hold) pre(ctx context.Context, k Hooked) error {
	if ctx.Err() != nil {
		return fmt.Errorf("run hooks in container %q: %w", k.Container.Name, context.Cause(ctx))
	}
	if k.Hooks.Post != nil {
		if err := h.diary.hooks(k.Container); err != nil {
			return fmt.Errorf("run hooks in container %q: none was, as the journal could not be written: %w", k.Container.Name, err)
		}
	}
	h.hooks.begun = append(h.hooks.begun, k)
	if k.Hooks.Pre == nil {
		return nil
	}
	c := &command{container: k.Container, hook: "pre", args: k.Hooks.Pre, timeout: k.Hooks.Timeout}
	err := h.keeper.run(ctx, c)
	if c.err != nil {
		h.hooks.pending = h.keeper.now().Add(late)
	}
	return h.note(c, err)
}

// during starts the command that lives as long as the hold, and waits until it is ready. The limit counts from there: what it does may
// weigh as heavily as a pause. How it ended is told when all has been let go.
func (h *Hold) during(ctx context.Context, k Hooked) error {
	if k.Hooks.During == nil {
		return nil
	}
	c := &command{container: k.Container, hook: "during", args: k.Hooks.During, timeout: k.Hooks.Timeout, stdin: make(chan struct{})}
	h.hooks.sessions = append(h.hooks.sessions, c)
	h.keeper.start(ctx, c)
	late := time.NewTimer(c.timeout)
	defer late.Stop()
	select {
	case <-c.ready:
		h.startLimit(context.WithoutCancel(ctx))
		h.hooks.minding.Go(func() { h.mind(c) })
		return nil
	case <-c.ended:
		return fmt.Errorf("%s: it ended before it had printed a line to say that it is ready", c)
	case <-late.C:
		return fmt.Errorf("%s: within %s it has printed no line to say that it is ready", c, c.timeout)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", c, context.Cause(ctx))
	}
}

// mind raises doubts when a session ends that should live on.
func (h *Hold) mind(c *command) {
	select {
	case <-c.ended:
		h.early(c)
	case <-c.stdin:
	}
}

func (h *Hold) early(c *command) {
	select {
	case <-c.stdin: // it was told to end
	default:
		h.doubts.fail(fmt.Sprintf("%s: it ended while the volume was read", c))
	}
}

// endSessions lets the commands that live as long as the hold know that it is over, and makes sure that they lived until then. One in a
// container that is paused hears it when that is resumed.
func (h *Hold) endSessions() {
	for _, c := range h.hooks.sessions {
		select {
		case <-c.ended:
			h.early(c)
		default:
		}
		close(c.stdin)
	}
	h.hooks.minding.Wait()
}

// note keeps and logs how a command ended.
func (h *Hold) note(c *command, err error) error {
	h.hooks.ended = append(h.hooks.ended, c)
	h.keeper.log.Info("hook ended", "container", c.container.Name, "hook", c.hook, "exit", c.exit, "took", c.took, "output", c.said.String(),
		"failed", err != nil)
	return err
}

// finishHooks waits for the sessions to end and runs the post-hooks, once nothing is held any more. What has failed will not be tried
// again; what is left is for whoever finds the journal.
func (h *Hold) finishHooks(ctx context.Context) (failed, left error) {
	var bad, undone []error
	for _, c := range slices.Backward(h.hooks.sessions) {
		bad = append(bad, h.note(c, c.wait()))
	}
	<-time.After(h.hooks.pending.Sub(h.keeper.now())) // a post-hook must not come before its pre-hook
	for _, k := range slices.Backward(h.hooks.begun) {
		switch err := h.post(ctx, k.Container); {
		case errors.Is(err, engine.ErrUnreachable):
			undone = append(undone, err)
		case err != nil:
			bad = append(bad, err)
		}
	}
	return errors.Join(bad...), errors.Join(undone...)
}

// post runs the post-hook of a container, or of what took its place. It is run again only when nobody knows how it ended.
func (h *Hold) post(ctx context.Context, owed engine.Container) error {
	const firstPause, longestPause, refusals, restart = 100 * time.Millisecond, 5 * time.Second, 8, 2 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, restart)
	defer cancel()
	refused := 0
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		c, err := h.tryPost(ctx, owed)
		if c != nil && (c.err == nil || errors.Is(c.err, errUnended)) {
			return h.note(c, err)
		}
		if err != nil && !errors.Is(err, engine.ErrUnreachable) {
			refused++
		}
		if err == nil || refused == refusals {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// tryPost gives the command that was run, or none.
func (h *Hold) tryPost(ctx context.Context, owed engine.Container) (*command, error) {
	looking, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	now, err := h.present(looking, owed)
	if err != nil {
		return nil, fmt.Errorf("run the post-hook in container %q: %w", owed.Name, err)
	}
	hooks, err := ParseHooks(now.Labels)
	if err != nil {
		return nil, fmt.Errorf("run the post-hook in container %q: %w", owed.Name, err)
	}
	if hooks.Post == nil {
		return nil, nil
	}
	c := &command{container: now, hook: "post", args: hooks.Post, timeout: hooks.Timeout}
	return c, h.keeper.run(ctx, c)
}

// present is the container, or what took its place: one made anew, or another task of its swarm service.
func (h *Hold) present(ctx context.Context, owed engine.Container) (engine.Container, error) {
	now, err := h.keeper.eng.Container(ctx, owed.ID)
	gone := errors.Is(err, engine.ErrNotFound)
	if !gone && (err != nil || now.State == engine.Running || owed.SwarmService() == "") {
		return now, err
	}
	containers, listErr := h.keeper.eng.Containers(ctx)
	if listErr != nil {
		return engine.Container{}, listErr
	}
	for _, c := range containers {
		if owed.SwarmService() != "" && c.SwarmService() == owed.SwarmService() && c.State == engine.Running {
			return c, nil
		}
	}
	if heir, ok := successor(owed, containers); ok && gone {
		return heir, nil
	}
	return now, err
}
