// Package quiesce makes the containers that use volumes hold still while somebody reads or replaces the data, and promises that
// they run again afterwards: on success, error, cancellation, and when a limit passes.
//
// What is to be done is decided purely (Select, and the grade in grade.go); doing it needs only the small Engine below, so that a
// process of its own can do it. What this package does not do: it reads no volume, decides on no schedule, and does not outlive its
// own process.
package quiesce

import (
	"context"
	"iter"
	"log/slog"
	"time"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/snapshot"
)

// Engine is what a hold asks of an engine. A call that returned an error may have taken effect.
type Engine interface {
	Containers(ctx context.Context) ([]engine.Container, error)
	Container(ctx context.Context, id string) (engine.Container, error)
	Pause(ctx context.Context, id string) error
	Unpause(ctx context.Context, id string) error
	Stop(ctx context.Context, id string, timeout time.Duration) error
	Start(ctx context.Context, id string) error
	// Events yields what happened since then and what happens until ctx ends; an error is the last thing that it yields.
	Events(ctx context.Context, since time.Time) iter.Seq2[engine.Event, error]
}

// Request says what is to hold still.
type Request struct {
	Volumes []engine.Volume
	Mode    Mode
	Limit   time.Duration // longest time that containers may be held; 0 is no limit
	// Readers is for exchanging the data under the containers: those that only read are held too, all are stopped whatever the
	// mode says, and a container that could not be started again as it was is an error.
	Readers bool
}

// mode is how the request really wants containers to be held.
func (r Request) mode() Mode {
	if r.Readers {
		return Stop
	}
	return r.Mode
}

// concerns tells whether the container uses one of the volumes in a way that matters to the request.
func (r Request) concerns(c engine.Container) bool {
	for _, v := range r.Volumes {
		if mounts, writes := c.Mounting(v); writes || mounts && r.Readers {
			return true
		}
	}
	return false
}

// Report is what came of a hold.
type Report struct {
	Grade   snapshot.Grade
	Held    []snapshot.Held
	Reasons []string // why the data may have moved; none unless the grade is fuzzy
}

// Options are what a Keeper knows of its surroundings.
type Options struct {
	Self  string // id of the container that this program runs in, or a prefix of it; "" outside of containers
	Blind bool   // the engine does not see who uses its volumes, so nothing can be said about how still they are
	Log   *slog.Logger
	Now   func() time.Time
}

// Keeper makes holds. Two holds of one Keeper never have a container in common: the second waits for the first.
type Keeper struct {
	eng    Engine
	self   string
	blind  bool
	log    *slog.Logger
	now    func() time.Time
	claims claims
}

// New gives a Keeper that works on eng.
func New(eng Engine, o Options) *Keeper {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Keeper{eng: eng, self: o.Self, blind: o.Blind, log: o.Log, now: o.Now}
}
