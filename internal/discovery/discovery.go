// Package discovery finds the volumes that are enrolled: it asks the engine what there is, adds what is remembered, and has package
// plan make settings and problems of it.
package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/plan"
)

// Engine is what discovery asks of the place where volumes live.
type Engine interface {
	Volumes(ctx context.Context) ([]engine.Volume, error)
	Containers(ctx context.Context) ([]engine.Container, error)
}

// Finder finds enrolled volumes.
type Finder struct {
	Engine    Engine
	Ledger    *ledger.Ledger
	Defaults  plan.Settings
	Targets   []string                       // names of all that are set up
	All       bool                           // every volume is enrolled, as with the dir source
	Overrides func() (plan.Overrides, error) // read anew each time, so that editing the file is enough
	Log       *slog.Logger                   // of overrides that are for no volume, which no result can tell

	unused []string // overrides that have been told of
}

// Volumes gives every enrolled volume, by name, and remembers enrolment by labels of containers, so that it outlives them. One call at a
// time.
func (f *Finder) Volumes(ctx context.Context) ([]plan.Volume, error) {
	overrides, err := f.Overrides()
	if err != nil {
		return nil, err
	}
	volumes, err := f.Engine.Volumes(ctx)
	if err != nil {
		return nil, fmt.Errorf("discover volumes: %w", err)
	}
	containers, err := f.Engine.Containers(ctx)
	if err != nil {
		return nil, fmt.Errorf("discover volumes: %w", err)
	}
	f.tellUnused(overrides.Unused(volumes))
	return f.resolve(volumes, containers, overrides)
}

// tellUnused tells of each section of the overrides once, for as long as there is no volume for it.
func (f *Finder) tellUnused(names []string) {
	for _, name := range names {
		if !slices.Contains(f.unused, name) {
			f.Log.Warn("the overrides file speaks of a volume that does not exist", "volume", name)
		}
	}
	f.unused = names
}

// resolve makes sense of what there is, and remembers what is to outlive it.
func (f *Finder) resolve(volumes []engine.Volume, containers []engine.Container, overrides plan.Overrides) ([]plan.Volume, error) {
	known := f.Ledger.View().Volumes
	in := plan.Input{
		Volumes: volumes, Containers: containers, Defaults: f.Defaults, Targets: f.Targets, Overrides: overrides,
		Remembered: make(map[string]plan.Remembered, len(known)), All: f.All,
	}
	for name, v := range known {
		in.Remembered[name] = v.Labels
	}
	enrolled := plan.Resolve(in)
	labels := plan.Remember(in, enrolled)
	// An engine that has no volumes at all has lost them, or is looking in the wrong place: no reason to forget what they were.
	if len(volumes) == 0 || same(labels, known) {
		return enrolled, nil
	}
	err := f.Ledger.Update(func(s *ledger.State) error {
		s.Label(labels)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("remember what containers' labels say: %w", err)
	}
	return enrolled, nil
}

// same tells whether all labels are remembered already, which they are nearly always.
func same(labels map[string]plan.Remembered, known map[string]ledger.Volume) bool {
	for name, v := range known {
		if len(labels[name]) != len(v.Labels) {
			return false
		}
	}
	for volume, given := range labels {
		if !maps.EqualFunc(given, known[volume].Labels, maps.Equal) {
			return false
		}
	}
	return true
}
