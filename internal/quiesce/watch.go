package quiesce

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// watch follows the engine's events from before a hold is made until after it ended, and raises doubts.
//
// It goes by the order of the events and never by their times, as engine and host may disagree about the time: what the engine tells
// of the hold's own calls marks where in the stream the hold begins and ends.
type watch struct {
	keeper *Keeper
	req    Request
	doubts *doubts

	cancel context.CancelFunc
	done   chan struct{} // closed when the stream has ended
	over   chan struct{} // closed when the stream has told that the first container was let go

	mu     sync.Mutex
	known  map[string]*known // by id of a container, or of a service, and then also by those of its tasks' containers
	stands bool              // the hold is complete
	broke  bool              // the stream broke off by itself
}

// known is a container of the hold, as far as the stream has told of it.
type known struct {
	name  string
	phase phase
	told  bool // the stream has reached the place where it was held
}

type phase int

const (
	coming  phase = iota // about to be held: what is told of it now was before
	paused               // told to be paused
	stopped              // told to be stopped
	leaving              // about to be let go
)

// follow starts to follow the events; close ends it.
func (k *Keeper) follow(ctx context.Context, req Request, d *doubts) *watch {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &watch{
		keeper: k, req: req, doubts: d, cancel: cancel,
		done: make(chan struct{}), over: make(chan struct{}), known: make(map[string]*known),
	}
	since := k.now()
	go func() {
		defer close(w.done)
		w.run(ctx, since)
	}()
	return w
}

func (w *watch) run(ctx context.Context, since time.Time) {
	reason := "the engine's events ended"
	for ev, err := range w.keeper.eng.Events(ctx, since) {
		if err != nil {
			reason = fmt.Sprintf("the engine's events broke off: %v", err)
			break
		}
		w.see(ctx, ev)
	}
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	w.broke = true // letting go wants to know, though for the grade it may be over
	w.mu.Unlock()
	if w.isOver() {
		return
	}
	if w.req.Readers { // what is being exchanged had better be finished: the containers are still stopped, as far as is known
		w.doubts.note(reason)
		return
	}
	w.doubts.lose(reason)
}

// close waits until the stream has told of all that happened before the first container was let go, if any was, and ends.
func (w *watch) close(resumed bool) {
	const patience = 5 * time.Second // the containers run again meanwhile
	if resumed {
		select {
		case <-w.over:
			if !w.begun() {
				w.doubts.note("the engine's events did not tell of the hold itself")
			}
		case <-w.done:
		case <-time.After(patience):
			w.doubts.note("the engine's events came too late to tell what happened meanwhile")
		}
	}
	w.cancel()
	<-w.done
}

func (w *watch) isOver() bool {
	select {
	case <-w.over:
		return true
	default:
		return false
	}
}

// expect announces that the container is about to enter the phase, or has.
func (w *watch) expect(c engine.Container, p phase) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.known[c.ID]
	if k == nil {
		k = &known{name: c.Name, told: p != coming}
		w.known[c.ID] = k
	}
	k.phase = p
}

// forget says that the container is not part of the hold after all.
func (w *watch) forget(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	gone := w.known[id]
	maps.DeleteFunc(w.known, func(_ string, k *known) bool { return k == gone })
}

// complete says that the hold stands: from now on other containers matter too.
func (w *watch) complete() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stands = true
}

// broken tells whether the stream broke off, so that nobody knows what happened since.
func (w *watch) broken() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broke
}

func (w *watch) see(ctx context.Context, ev engine.Event) {
	if w.isOver() {
		return
	}
	switch {
	case ev.Type == "volume" && ev.Action == "mount":
		w.seeMount(ev)
	case ev.Type == "container":
		if !w.seeKnown(ev) && ev.Action == "start" && w.begun() {
			w.seeStranger(ctx, ev)
		}
	}
}

// seeKnown takes in what is told of a container of the hold, and tells whether it is one.
func (w *watch) seeKnown(ev engine.Event) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	k, action := w.known[ev.ID], ev.Action
	if service := w.known[ev.SwarmService()]; k == nil || k == service {
		if k = service; k == nil {
			return false
		}
		w.known[ev.ID] = k
		if action == "die" { // which is all that is told of a task that was ending anyway
			action = "stop"
		}
	}
	switch action {
	case "pause":
		k.told = true
		if k.phase == coming {
			k.phase = paused
		}
	case "stop":
		k.told = true
		if k.phase == coming {
			k.phase = stopped
		}
	case "unpause", "start", "die":
		w.seeMove(k, action)
	}
	return true
}

// seeMove takes in that processes of a container of the hold went on, began or ended.
func (w *watch) seeMove(k *known, action string) {
	moved := k.phase == paused && action != "start" || k.phase == stopped && action == "start" // a paused one cannot be started
	switch {
	case k.phase == leaving && k.told && action != "die":
		close(w.over)
	case moved && !w.stands: // it was restarted just before it was held, or the next look finds it running
		k.phase, k.told = coming, false
	case moved:
		w.doubts.lose(fmt.Sprintf("somebody else let container %q go (%s)", k.name, action))
	}
}

// begun tells whether the stream has reached the place from where on the hold is complete.
func (w *watch) begun() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stands {
		return false
	}
	for _, k := range w.known {
		if !k.told {
			return false
		}
	}
	return true
}

// seeMount takes in that a container, of the hold or not, got a volume. It comes before the container's start, and also with a copy
// into a container that does not run.
func (w *watch) seeMount(ev engine.Event) {
	id := ev.Attributes["container"]
	ours := slices.ContainsFunc(w.req.Volumes, func(v engine.Volume) bool { return v.Name == ev.ID })
	harmless := ev.Attributes["read/write"] == "false" && !w.req.Readers
	if !ours || harmless || isSelf(id, w.keeper.self) || !w.begun() || w.isLeaving(id) {
		return
	}
	w.doubts.lose(fmt.Sprintf("volume %q was mounted by container %.12q", ev.ID, id))
}

func (w *watch) isLeaving(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known[id] != nil && w.known[id].phase == leaving
}

// seeStranger looks at a container that started and is not part of the hold: it may bind the folder of a volume.
func (w *watch) seeStranger(ctx context.Context, ev engine.Event) {
	c, err := w.keeper.eng.Container(ctx, ev.ID)
	switch {
	case ctx.Err() != nil || isSelf(ev.ID, w.keeper.self):
	case err != nil:
		w.doubts.lose(fmt.Sprintf("container %q started and could not be looked at: %v", ev.Attributes["name"], err))
	case w.req.concerns(c):
		w.doubts.lose(fmt.Sprintf("container %q started meanwhile", c.Name))
	}
}
