package quiesce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// held is a container of a hold, and how it fares.
type held struct {
	Step
	since   time.Time     // just before the call that held it
	lasted  time.Duration // from there until it was let go
	pending time.Time     // until then, a call that got no answer may yet take effect
	silent  bool          // the engine gave no answer to the call that held it
	resumed bool          // by this hold
	ended   bool          // by this hold, to be started again
	refused int           // times that the engine answered and did not let it go
	err     error         // of the last attempt to let it go
}

// answer is the longest that an engine may think about a call, beyond what the call itself waits for.
const answer = 30 * time.Second

// late is how long an engine may take to begin with a call that it has got.
const late = 5 * time.Second

// grace is the longest that a stop of the container takes by itself.
func grace(c engine.Container) time.Duration {
	const forever = 5 * time.Minute // for a container that is never to be killed (a negative time-out)
	if c.StopTimeout < 0 {
		return forever
	}
	return c.StopTimeout
}

// hold makes one container hold still. The calls are not cut short when ctx ends: the engine would finish them anyway, and nobody
// would know when.
func (h *Hold) hold(ctx context.Context, s Step) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s %s: %w", s.How, s.what(), context.Cause(ctx))
	}
	if reasons := h.doubts.all(); h.isLost() {
		return fmt.Errorf("%s %s: %s", s.How, s.what(), reasons[0])
	}
	ctx = context.WithoutCancel(ctx)
	if err := h.diary.intend(s); err != nil {
		return fmt.Errorf("%s %s: nothing was done to it, as the journal could not be written: %w", s.How, s.what(), err)
	}
	h.startLimit(ctx)
	t := &held{Step: s, since: h.keeper.now()}
	t.Container.Started = time.Time{} // it may have been restarted since it was looked at; the look after the hold tells
	h.held = append(h.held, t)        // before the call: whatever comes of it, letting go looks after it
	h.watch.expect(s.Container, coming)
	ours, err := h.insist(ctx, t)
	if err == nil {
		h.diary.settled(s, ours)
	}
	if !ours {
		h.held = h.held[:len(h.held)-1]
		h.watch.forget(s.Container.ID)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", s.How, s.what(), err)
	}
	h.keeper.log.Debug("container held", "container", s.Container.Name, "how", s.How)
	return nil
}

// insist asks some times over when the engine refuses: cgroups of version 1 were seen to fail to freeze a busy container.
func (h *Hold) insist(ctx context.Context, t *held) (ours bool, err error) {
	const tries = 3
	for range tries {
		if t.How == Scale {
			ours, err = h.scaleDown(ctx, t)
		} else {
			ours, err = h.settle(ctx, t, h.keeper.do(ctx, t.Step))
		}
		if err == nil || errors.Is(err, engine.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) {
			break
		}
	}
	return ours, err
}

func (h *Hold) isLost() bool {
	select {
	case <-h.doubts.lost:
		return true
	default:
		return false
	}
}

// startLimit starts the clock of the hold, if it does not run yet.
func (h *Hold) startLimit(ctx context.Context) {
	if h.req.Limit <= 0 || h.limit != nil {
		return
	}
	h.limit = time.AfterFunc(h.req.Limit, func() {
		h.doubts.fail(fmt.Sprintf("the limit of %s passed", h.req.Limit))
		<-h.taken
		h.Release(ctx) // the outcome is kept for whoever has the hold
	})
}

func (k *Keeper) do(ctx context.Context, s Step) error {
	c := s.Container
	if s.How == Pause {
		ctx, cancel := context.WithTimeout(ctx, answer)
		defer cancel()
		return k.eng.Pause(ctx, c.ID)
	}
	ctx, cancel := context.WithTimeout(ctx, grace(c)+answer)
	defer cancel()
	return k.eng.Stop(ctx, c.ID, c.StopTimeout)
}

// settle finds out what a call that ended with err has done, as what counts is the state of the container and not the answer. When
// the container is not ours to let go, with or without an error, the next look decides about it anew.
func (h *Hold) settle(ctx context.Context, t *held, err error) (ours bool, _ error) {
	if err == nil {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	c, lookErr := h.keeper.eng.Container(ctx, t.Container.ID)
	conflict := errors.Is(err, engine.ErrConflict)
	asked := !t.pending.IsZero() // before, and the answer was not to be trusted
	switch {
	case errors.Is(lookErr, engine.ErrNotFound): // removed just now
		return false, nil
	case lookErr == nil && t.moved(map[string]engine.Container{c.ID: c}) == "" && (asked || !conflict):
		return true, nil
	case errors.Is(err, engine.ErrFrozen) && !asked: // by somebody else
		return false, err
	case lookErr == nil && conflict && c.State != t.Container.State: // somebody else was faster
		return false, nil
	}
	t.pending = h.keeper.unsettled(t.Step, h.keeper.now())
	t.silent = t.silent || errors.Is(err, engine.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded)
	return true, errors.Join(err, lookErr)
}
