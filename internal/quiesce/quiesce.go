// Package quiesce makes the containers that use volumes hold still while somebody reads or replaces the data, and promises that
// they run again afterwards: on success, error, cancellation, and when a limit passes. What it is about to do is in a journal before it is
// done, so that Recover lets go in the place of a process that died.
//
// What is to be done is decided purely (Select, and the grade in grade.go); doing it needs only the small Engine below, so that a
// process of its own can do it (package guard). What this package does not do: it reads no volume, and decides on no schedule.
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
	Exec(ctx context.Context, id string, cmd engine.Command) (exit int, err error)
	Service(ctx context.Context, id string) (engine.Service, error)
	// Scale sets how many tasks a service should have, if it should have as many as expected; else it is engine.ErrConflict.
	Scale(ctx context.Context, id string, from, to uint64) error
	// Events yields what happened since then and what happens until ctx ends; an error is the last thing that it yields.
	Events(ctx context.Context, since time.Time) iter.Seq2[engine.Event, error]
}

// Request says what is to hold still.
type Request struct {
	Volumes []engine.Volume
	Mode    Mode          `json:",omitempty"`
	Limit   time.Duration // longest time that containers may be held; 0 is no limit
	// Readers is for exchanging the data under the containers: those that only read are held too, all are stopped whatever the
	// mode says, and a container that could not be started again as it was is an error.
	Readers bool
	Hooks   bool // run the hooks of the containers
}

// mode is how the request really wants containers to be held.
func (r Request) mode() Mode {
	if r.Readers {
		return Stop
	}
	return r.Mode
}

// exchanged names the volumes whose content may be exchanged while they are held.
func (r Request) exchanged() (names []string) {
	if r.Readers {
		for _, v := range r.Volumes {
			names = append(names, v.Name)
		}
	}
	return names
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
	Hooks   []snapshot.Hook `json:",omitempty"`
	Reasons []string        // why the data may have moved; none unless the grade is fuzzy
	Checked []Checked       `json:",omitempty"`
}

// Options are what a Keeper knows of its surroundings.
type Options struct {
	// Dir is the folder of journals, and of the locks of containers that all processes on this host share. Where nothing is ever held
	// it may be "".
	Dir    string
	Engine string // its id: a journal of another one is none of this Keeper's business
	Self   string // id of the container that this program runs in, or a prefix of it; "" outside of containers
	Door   Door   // at which the engine is reached
	Blind  bool   // the engine does not see who uses its volumes, so nothing can be said about how still they are

	// Settle puts volumes in order that somebody was exchanging, before anything that was held for it runs again. An error is that they
	// are not, and so nothing does. Nil is for where nothing is exchanged.
	Settle func(ctx context.Context, volumes []string) error

	Log *slog.Logger
	Now func() time.Time
}

// Holding is what somebody has who asked for containers to hold still.
type Holding interface {
	// Lost is closed when the data may move although the hold has not been released: the limit passed, or somebody else resumed a
	// container, or nobody can tell. A reader should stop. In mode None only a hook that was to live as long as the
	// hold can make that happen.
	Lost() <-chan struct{}

	// Release lets all containers go that were made to hold still and that nobody else has taken over, in the reverse order. It does
	// so although ctx has ended. Once is enough: further calls give the same.
	Release(ctx context.Context) (Report, error)
}

// Keeper makes holds. Two holds never have a container in common, in whichever processes: the second waits for the first.
type Keeper struct {
	eng    Engine
	dir    string
	engine string
	self   string
	door   Door
	blind  bool
	settle func(ctx context.Context, volumes []string) error
	log    *slog.Logger
	now    func() time.Time
}

// New gives a Keeper that works on eng.
func New(eng Engine, o Options) *Keeper {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Settle == nil {
		o.Settle = func(context.Context, []string) error { return nil }
	}
	return &Keeper{eng: eng, dir: o.Dir, engine: o.Engine, self: o.Self, door: o.Door, blind: o.Blind, settle: o.Settle, log: o.Log, now: o.Now}
}
