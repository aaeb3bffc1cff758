package guard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/snapshot"
)

// Guard is a guard that runs. When Wait has returned it has ended, however it did.
type Guard struct {
	Orders  io.WriteCloser
	Answers io.Reader
	Wait    func() error
}

// Keeper makes holds by guards. All fields are needed.
type Keeper struct {
	Start   func() (*Guard, error)
	Recover func(ctx context.Context) error // lets go of what guards that died have left held
	Log     *slog.Logger
}

// Hold makes the containers hold still that use the request's volumes. After an error none is held any more by this call. Whoever gets a
// Holding releases it, best with defer.
func (k *Keeper) Hold(ctx context.Context, req quiesce.Request) (quiesce.Holding, error) {
	if err := k.Recover(ctx); err != nil {
		k.Log.Error("containers that an earlier run had held may still not run", "err", err)
	}
	g, err := k.Start()
	if err != nil {
		return nil, fmt.Errorf("start the guard that holds containers: %w", err)
	}
	h := &hold{keeper: k, guard: g, orders: json.NewEncoder(g.Orders),
		held: make(chan struct{}), lost: make(chan struct{}), done: make(chan struct{})}
	if err := h.orders.Encode(order{Hold: &req}); err != nil {
		return nil, errors.Join(fmt.Errorf("ask the guard for a hold: %w", err), g.Orders.Close(), g.Wait())
	}
	go h.follow(context.WithoutCancel(ctx))
	select {
	case <-h.held:
		return h, nil
	case <-h.done:
		return nil, h.failure(ctx)
	case <-ctx.Done():
		h.release()
		<-h.done
		return nil, h.failure(ctx)
	}
}

// hold is a hold that a guard makes.
type hold struct {
	keeper *Keeper
	guard  *Guard

	ordering sync.Mutex
	orders   *json.Encoder
	released bool // was ordered

	held chan struct{} // closed when all containers are
	lost chan struct{}
	done chan struct{} // closed when the guard has ended and result is there

	result result
}

// Lost is as in quiesce.Holding.
func (h *hold) Lost() <-chan struct{} { return h.lost }

// Release is as in quiesce.Holding.
func (h *hold) Release(context.Context) (quiesce.Report, error) {
	h.release()
	<-h.done
	if h.result.Error != "" {
		return h.result.Report, errors.New(h.result.Error)
	}
	return h.result.Report, nil
}

// failure is why there is no hold.
func (h *hold) failure(ctx context.Context) error {
	why := h.result.Error
	switch {
	case ctx.Err() != nil && why != "":
		return fmt.Errorf("%w (%s)", context.Cause(ctx), why)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case why == "":
		return errors.New("the guard let go before anybody asked it to")
	}
	return errors.New(why)
}

func (h *hold) release() {
	h.ordering.Lock()
	h.released = true
	h.ordering.Unlock()
	h.order(order{Release: true})
}

// order tells the guard something. One that has ended does not hear it, which follow finds out.
func (h *hold) order(o order) {
	h.ordering.Lock()
	defer h.ordering.Unlock()
	if err := h.orders.Encode(o); err != nil {
		h.keeper.Log.Debug("the guard does not hear", "err", err)
	}
}

// follow hears what the guard says until it has ended, and takes its place when it ended without a word.
func (h *hold) follow(ctx context.Context) {
	defer close(h.done)
	reported := h.hear()
	h.guard.Orders.Close() // there is nobody who could hear any more
	err := h.guard.Wait()
	if !reported {
		h.succeed(ctx, err)
	}
	h.ordering.Lock()
	defer h.ordering.Unlock()
	if !h.released {
		h.lose()
	}
}

// hear tells whether the guard said how the hold ended. Heartbeats go on until then.
func (h *hold) hear() (reported bool) {
	quiet := make(chan struct{})
	var beats sync.WaitGroup
	defer beats.Wait()
	defer close(quiet)
	beats.Go(func() { h.beat(quiet) })
	for from := json.NewDecoder(h.guard.Answers); ; {
		var a answer
		if err := from.Decode(&a); err != nil {
			return false
		}
		switch {
		case a.Held:
			close(h.held)
		case a.Lost:
			h.lose()
		case a.Released != nil:
			h.result = *a.Released
			return true
		}
	}
}

func (h *hold) beat(quiet <-chan struct{}) {
	every := time.NewTicker(beat)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			h.order(order{})
		case <-quiet:
			return
		}
	}
}

// lose is called by follow alone, as it hears.
func (h *hold) lose() {
	select {
	case <-h.lost:
	default:
		close(h.lost)
	}
}

// succeed lets go in the place of a guard that died.
func (h *hold) succeed(ctx context.Context, died error) {
	h.lose()
	why := "the guard that held the containers died"
	if died != nil {
		why = fmt.Sprintf("%s (%v)", why, died)
	}
	h.keeper.Log.Error("letting go of containers in the place of their guard", "reason", why)
	h.result.Report = quiesce.Report{Grade: snapshot.Fuzzy, Reasons: []string{why}}
	h.result.Error = why
	if err := h.keeper.Recover(ctx); err != nil {
		h.result.Error = fmt.Sprintf("%s, and its containers may not run again: %v", why, err)
	}
}
