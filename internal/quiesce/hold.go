package quiesce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/backupd/backupd/internal/durable"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/snapshot"
)

// Hold is a set of containers that hold still.
type Hold struct {
	keeper *Keeper
	req    Request
	doubts *doubts
	watch  *watch
	claims *claims
	diary  *journal
	held   []*held
	hooks  hooking
	plan   Plan // of the last look

	// unseen tells whether the engine may have gone down since it paused the container, and that have been the container's end.
	unseen func(ctx context.Context, t *held) bool

	settles []string // volumes that are to be put in order before anything is let go

	limit *time.Timer
	taken chan struct{} // closed when all are held, or letting go has to begin

	once   sync.Once
	report Report
	err    error
}

// Hold makes the containers hold still that use the request's volumes. After an error none is held any more by this call. Whoever
// gets a Hold releases it, best with defer. Waiting for containers of another hold does not count against the limit.
func (k *Keeper) Hold(ctx context.Context, req Request) (Holding, error) {
	h := &Hold{keeper: k, req: req, claims: k.claims(), diary: k.journal(req), taken: make(chan struct{})}
	h.doubts = &doubts{lost: make(chan struct{}), lenient: req.mode() == None}
	h.watch = k.follow(ctx, req, h.doubts)
	h.unseen = func(context.Context, *held) bool { return h.watch.broken() }
	err := h.take(ctx)
	if err == nil {
		h.settles = req.exchanged()
	}
	close(h.taken)
	if err != nil {
		h.doubts.note(err.Error())
		_, unheld := h.Release(ctx)
		return nil, errors.Join(err, unheld)
	}
	h.watch.complete()
	if k.blind {
		h.doubts.note("the containers that use the volume cannot be seen")
	}
	for _, c := range h.plan.Active {
		h.doubts.note(fmt.Sprintf("container %q ran and could write", c.Name))
	}
	for _, c := range h.plan.Doors {
		h.doubts.note(fmt.Sprintf("container %q ran and could write: the engine is reached through it (DOCKER_HOST), so it cannot be held", c.Name))
	}
	return h, nil
}

// Lost is as in Holding.
func (h *Hold) Lost() <-chan struct{} { return h.doubts.lost }

// Release is as in Holding. It tries all containers, over again for minutes while the engine does not answer.
func (h *Hold) Release(ctx context.Context) (Report, error) {
	h.once.Do(func() { h.report, h.err = h.end(context.WithoutCancel(ctx)) })
	return h.report, h.err
}

func (h *Hold) end(ctx context.Context) (Report, error) {
	if h.limit != nil {
		h.limit.Stop()
	}
	if len(h.doubts.all()) == 0 {
		h.lastLook(ctx)
	}
	h.endSessions()
	left := h.putInOrder(ctx)
	if left == nil {
		left = h.letGo(ctx)
	}
	h.watch.close(slices.ContainsFunc(h.held, func(t *held) bool { return t.resumed }))
	failed, owed := h.finishHooks(ctx)
	if left = errors.Join(left, owed); left == nil {
		left = h.diary.finish()
	} else {
		left = errors.Join(left, h.diary.leave())
	}
	return h.result(), errors.Join(failed, left, h.claims.close())
}

// putInOrder settles what was being exchanged. Whatever uses it stays stopped until that is done.
func (h *Hold) putInOrder(ctx context.Context) error {
	if len(h.settles) == 0 {
		return nil
	}
	err := h.keeper.settle(ctx, h.settles)
	if err != nil {
		err = fmt.Errorf("what uses the data was not started again: \"backupd recover\" does once it is in order: %w", err)
	}
	return err
}

// lastLook makes sure that what was held still is.
func (h *Hold) lastLook(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // the containers are held meanwhile
	defer cancel()
	after, err := h.keeper.eng.Containers(ctx)
	if err != nil {
		h.doubts.note(fmt.Sprintf("the containers could not be looked at before they were let go: %v", err))
		return
	}
	for _, reason := range moved(h.req, h.steps(), h.plan, h.keeper.self, after) {
		h.doubts.note(reason)
	}
}

func (h *Hold) result() Report {
	reasons := h.doubts.all()
	r := Report{Grade: grade(h.steps(), h.plan.Paused, reasons), Reasons: reasons, Checked: h.checked()}
	for _, t := range h.held {
		r.Held = append(r.Held, snapshot.Held{
			Container: t.Container.Name, Service: t.How == Scale, Milliseconds: max(0, t.lasted.Milliseconds()),
		})
	}
	for _, c := range h.hooks.ended {
		r.Hooks = append(r.Hooks, c.told())
	}
	return r
}

func (h *Hold) steps() []Step {
	steps := make([]Step, 0, len(h.held))
	for _, t := range h.held {
		steps = append(steps, t.Step)
	}
	return steps
}

// take looks at the containers and holds what is not held yet, until a look finds nothing more: one may start between a look and
// the moment that all are held.
func (h *Hold) take(ctx context.Context) error {
	const looks = 5
	for left := looks; left > 0; {
		containers, err := h.keeper.eng.Containers(ctx)
		if err != nil {
			return fmt.Errorf("list containers: %w", err)
		}
		if h.plan, err = Prepare(ctx, h.keeper.eng, h.req, Scene{Containers: containers, Self: h.keeper.self, Door: h.keeper.door}); err != nil {
			return err
		}
		steps := h.subtractHeld()
		h.learn(containers)
		waited, err := h.claim(ctx, steps)
		if err != nil {
			return err
		}
		if waited { // and whatever was seen before may have changed
			continue
		}
		for _, c := range h.plan.Paused {
			h.watch.expect(c, paused)
		}
		if found := h.subtractHooked(); len(found) > 0 {
			if err := h.prepare(ctx, found); err != nil {
				return err
			}
			left--
			continue // that took its time, and may have changed what runs
		}
		if len(steps) == 0 {
			return nil
		}
		for _, s := range steps {
			if err := h.hold(ctx, s); err != nil {
				return err
			}
		}
		left--
	}
	return errors.New("containers that use the volume keep starting while others are being held")
}

// subtractHeld gives the steps of the plan that are still to be done, and takes out of its paused containers those that this hold
// paused.
func (h *Hold) subtractHeld() []Step {
	mine := func(c engine.Container) bool {
		return slices.ContainsFunc(h.held, func(t *held) bool { return t.Container.ID == c.ID })
	}
	h.plan.Paused = slices.DeleteFunc(h.plan.Paused, mine)
	return slices.DeleteFunc(slices.Clone(h.plan.Steps), func(s Step) bool { return mine(s.Container) })
}

// learn notes which run of each container was held: one that has another run at the end was started in between.
func (h *Hold) learn(containers []engine.Container) {
	for _, c := range containers {
		for _, t := range h.held {
			if t.Container.ID == c.ID && t.Container.Started.IsZero() {
				t.Container.Started = c.Started
				h.diary.started(c)
			}
		}
	}
}

// claim makes the containers this hold's own, paused ones too, which another hold may have paused. One that holds some already must
// not wait for others, or two could wait for each other.
func (h *Hold) claim(ctx context.Context, steps []Step) (waited bool, err error) {
	var ids []string
	for _, s := range steps {
		ids = append(append(ids, s.Container.ID), s.Tasks...)
	}
	for _, c := range h.plan.Paused {
		ids = append(ids, c.ID)
	}
	for _, c := range h.plan.Hooked {
		ids = append(ids, c.Container.ID)
	}
	if len(h.held) == 0 && len(h.hooks.begun) == 0 {
		if waited, err = h.claims.wait(ctx, ids); err != nil {
			return waited, fmt.Errorf("wait for containers that are held for another volume: %w", err)
		}
		return waited, nil
	}
	err = h.claims.try(ids)
	if errors.Is(err, durable.ErrLocked) {
		return false, errors.New("a container started that is held for another volume: try again later")
	}
	return false, err
}
