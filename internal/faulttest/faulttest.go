// Package faulttest makes exactly one call out of many fail, so that a test can walk through every place where the outside may
// fail. Fakes of the engine and of stores share one Injector; the test runs once per call number and kind.
package faulttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Kind is how the chosen call fails.
type Kind int

// The kinds of fault.
const (
	Before Kind = iota // an error, without effect
	After              // an error, although it took effect
	Cancel             // the caller's context ends just before the call
)

// Kinds are all of them.
var Kinds = []Kind{Before, After, Cancel}

func (k Kind) String() string { return [...]string{"before", "after", "cancel"}[k] }

// ErrInjected is what a call fails with that was made to fail.
var ErrInjected = errors.New("injected fault")

// Injector counts calls and makes the one with number At fail. A nil Injector lets all pass.
type Injector struct {
	At     int // from 1; 0 never fails
	Kind   Kind
	Cancel context.CancelFunc // for the kind Cancel

	mu    sync.Mutex
	calls []string
}

// Call is one call of a fake: what it is named, and its effect.
func (i *Injector) Call(ctx context.Context, name string, effect func() error) error {
	if i == nil {
		return effect()
	}
	i.mu.Lock()
	i.calls = append(i.calls, name)
	chosen := len(i.calls) == i.At
	i.mu.Unlock()
	if chosen && i.Kind == Cancel {
		i.Cancel()
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if chosen && i.Kind == Before {
		return fmt.Errorf("%s: %w before its effect", name, ErrInjected)
	}
	if err := effect(); err != nil {
		return err
	}
	if chosen && i.Kind == After {
		return fmt.Errorf("%s: %w after its effect", name, ErrInjected)
	}
	return nil
}

// Calls are the names of all calls so far, in order.
func (i *Injector) Calls() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]string(nil), i.calls...)
}
