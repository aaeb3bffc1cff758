package dir

import (
	"context"
	"fmt"

	"github.com/backupd/backupd/internal/engine"
)

// Service finds none.
func (s *Source) Service(_ context.Context, id string) (engine.Service, error) {
	return engine.Service{}, fmt.Errorf("inspect service %q: %w", id, engine.ErrNotFound)
}

// Tasks finds no service.
func (s *Source) Tasks(_ context.Context, id string) (engine.Tasks, error) {
	return engine.Tasks{}, fmt.Errorf("count the tasks of service %q: %w", id, engine.ErrNotFound)
}

// Scale finds no service.
func (s *Source) Scale(_ context.Context, id string, _, _ uint64) error {
	return fmt.Errorf("scale service %q: %w", id, engine.ErrNotFound)
}
