package guard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/snapshot"
)

// Holder makes holds.
type Holder interface {
	Hold(ctx context.Context, req quiesce.Request) (quiesce.Holding, error)
}

// Serve makes the one hold that it is asked for and lets go of it: when it is told to, when orders end or none comes for 30 seconds, and
// when ctx ends. When it returns, nothing is held any more, or the error says what is.
func Serve(ctx context.Context, in io.Reader, out io.Writer, holder Holder, log *slog.Logger) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	orders := listen(ctx, in)
	s := &server{holder: holder, log: log, answers: json.NewEncoder(out)}
	select {
	case o, ok := <-orders:
		if !ok || o.Hold == nil {
			return errors.New("nobody asked the guard for a hold")
		}
		return s.serve(ctx, cancel, *o.Hold, orders)
	case <-time.After(first):
		return errors.New("nobody asked the guard for a hold in time")
	}
}

// listen gives what is ordered, until the orders end. Who reads them must do so until ctx ends.
func listen(ctx context.Context, in io.Reader) <-chan order {
	orders := make(chan order)
	go func() {
		defer close(orders)
		for from := json.NewDecoder(in); ; {
			var o order
			if from.Decode(&o) != nil { // whatever it is, nobody is there any more who could be understood
				return
			}
			select {
			case orders <- o:
			case <-ctx.Done():
				return
			}
		}
	}()
	return orders
}

type server struct {
	holder  Holder
	log     *slog.Logger
	answers *json.Encoder
}

// taken is what came of a hold that was asked for.
type taken struct {
	hold quiesce.Holding
	err  error
}

func (s *server) serve(ctx context.Context, cancel context.CancelCauseFunc, req quiesce.Request, orders <-chan order) error {
	holding := make(chan taken, 1)
	go func() {
		h, err := s.holder.Hold(ctx, req)
		holding <- taken{h, err}
	}()
	e := s.watch(ctx, holding, orders)
	if e.why != nil {
		s.log.Warn("containers are let go", "reason", e.why)
	}
	if !e.known {
		cancel(e.why)
		e.taken = <-holding
	}
	return s.end(ctx, e)
}

// ending is how a hold comes to its end.
type ending struct {
	taken
	known bool  // taken has what came of asking for it
	why   error // nil when the end was asked for
}

// watch waits until the hold has to end.
func (s *server) watch(ctx context.Context, holding <-chan taken, orders <-chan order) (e ending) {
	quiet := time.NewTimer(silence)
	defer quiet.Stop()
	var lost <-chan struct{}
	for {
		select {
		case e.taken = <-holding:
			e.known = true
			if e.err != nil {
				return e
			}
			lost = e.hold.Lost()
			s.say(answer{Held: true})
		case <-lost:
			lost = nil
			s.say(answer{Lost: true})
		case o, ok := <-orders:
			if !ok {
				e.why = errors.New("the process that asked for the hold has ended")
			}
			if !ok || o.Release {
				return e
			}
			quiet.Reset(silence)
		case <-quiet.C:
			e.why = fmt.Errorf("the process that asked for the hold has been silent for %s", silence)
			return e
		case <-ctx.Done():
			e.why = context.Cause(ctx)
			return e
		}
	}
}

// end lets go and reports.
func (s *server) end(ctx context.Context, e ending) error {
	var r result
	err := e.err
	if e.hold != nil {
		r.Report, err = e.hold.Release(ctx)
		if e.why != nil {
			r.Report.Grade = snapshot.Fuzzy
			r.Report.Reasons = append(r.Report.Reasons, e.why.Error())
		}
	}
	if err != nil {
		r.Error = err.Error()
	}
	s.say(answer{Released: &r})
	if e.why == nil {
		return nil // it has been told to who asked
	}
	return errors.Join(e.why, err)
}

// say answers. Nobody may be there any more to hear it, which is found out by the orders.
func (s *server) say(a answer) {
	if err := s.answers.Encode(a); err != nil {
		s.log.Debug("nobody hears the guard", "err", err)
	}
}
