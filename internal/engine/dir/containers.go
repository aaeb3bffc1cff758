package dir

import (
	"context"
	"fmt"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// Containers lists none.
func (s *Source) Containers(context.Context) ([]engine.Container, error) { return nil, nil }

// Container finds none.
func (s *Source) Container(_ context.Context, id string) (engine.Container, error) {
	return engine.Container{}, noContainer("inspect", id)
}

// Pause finds no container.
func (s *Source) Pause(_ context.Context, id string) error { return noContainer("pause", id) }

// Unpause finds no container.
func (s *Source) Unpause(_ context.Context, id string) error { return noContainer("unpause", id) }

// Stop finds no container.
func (s *Source) Stop(_ context.Context, id string, _ time.Duration) error {
	return noContainer("stop", id)
}

// Start finds no container.
func (s *Source) Start(_ context.Context, id string) error { return noContainer("start", id) }

// Exec finds no container.
func (s *Source) Exec(_ context.Context, id string, _ engine.Command) (int, error) {
	return 0, noContainer("run a command in", id)
}

func noContainer(verb, id string) error {
	return fmt.Errorf("%s container %q: %w", verb, id, engine.ErrNotFound)
}
