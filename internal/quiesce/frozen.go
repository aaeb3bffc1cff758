package quiesce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// probe finds out whether a container that the engine calls running does, and restarts one that is frozen. Nothing else thaws it, and to its
// program that is a crash.
//
// An engine that is killed while it pauses a container, and comes back with live restore, takes it for running and cannot be told
// otherwise (20.10 with runc 1.1). To pause it again is refused then, which is how it shows. Any other is paused by that, for a moment.
func (h *Hold) probe(ctx context.Context, t *held, c engine.Container) (done bool, err error) {
	err = h.pauseAgain(ctx, c.ID)
	switch {
	case err == nil:
		t.silent = false
		return true, h.resume(ctx, t, c, "unpause", h.keeper.eng.Unpause)
	case errors.Is(err, engine.ErrConflict): // paused or ended by now
		return false, nil
	case !errors.Is(err, engine.ErrFrozen):
		t.pending = h.keeper.unsettled(t.Step, h.keeper.now())
		return false, fmt.Errorf("look whether container %q is frozen: %w", c.Name, err)
	}
	if c.AutoRemove {
		return false, fmt.Errorf("container %q would be deleted by a restart (--rm): %w", c.Name, err)
	}
	h.keeper.log.Warn("a container is restarted, as the engine froze it and has forgotten that", "container", c.Name)
	t.ended = true
	if err := h.keeper.eng.Stop(ctx, c.ID, 0); err != nil {
		return false, fmt.Errorf("restart container %q, which is frozen: %w", c.Name, err)
	}
	return true, h.resume(ctx, t, c, "start", h.keeper.eng.Start)
}

// pauseAgain pauses a container. That it is frozen has to show some times: one that has ended just now looks like that, too.
func (h *Hold) pauseAgain(ctx context.Context, id string) (err error) {
	const looks, apart = 3, 200 * time.Millisecond
	for range looks {
		if err = h.keeper.eng.Pause(ctx, id); !errors.Is(err, engine.ErrFrozen) {
			return err
		}
		select {
		case <-time.After(apart):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return err
}
