package backup

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/snapshot"
)

// Starts is an engine that tells how containers are started.
type Starts interface {
	Setup(ctx context.Context, id string) (engine.Setup, error)
	Image(ctx context.Context, name string) (engine.Image, error)
}

// runs asks how the containers of a volume are started. A drill needs to know; the backup does not, so a container of which the engine does not
// tell is recorded without.
func (r *Runner) runs(ctx context.Context, v plan.Volume) map[string]*snapshot.Run {
	runs := map[string]*snapshot.Run{}
	if r.Starts == nil {
		return runs
	}
	for _, c := range v.Containers {
		if c.Mute { // nor would the engine answer now
			continue
		}
		run, err := r.run(ctx, c, v.Volume)
		if err != nil {
			r.Log.Warn("how a container is started is not recorded, so that drills cannot start it", "volume", v.Name, "container", c.Name, "err", err)
			continue
		}
		runs[c.ID] = run
	}
	return runs
}

func (r *Runner) run(ctx context.Context, c engine.Container, v engine.Volume) (*snapshot.Run, error) {
	setup, err := r.Starts.Setup(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	image, err := r.Starts.Image(ctx, c.ImageID)
	if err != nil && !errors.Is(err, engine.ErrNotFound) { // somebody removed it by force
		return nil, err
	}
	run := &snapshot.Run{
		Digests: image.Digests, Active: c.Active(), Entrypoint: setup.Entrypoint, Command: setup.Command, Folder: setup.Folder, User: setup.User,
		Environment: names(setup.Env), Memory: setup.Memory, Shared: setup.Shared,
	}
	if h := setup.Health; h != nil {
		run.Health = &snapshot.Health{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, Retries: h.Retries}
	}
	for _, m := range c.Mounts {
		switch its := m.Volume == v.Name || m.Volume == "" && m.Source == v.Mountpoint; {
		case its && (run.Destination == "" || run.ReadOnly && !m.ReadOnly):
			run.Destination, run.ReadOnly = m.Destination, m.ReadOnly
		case !its:
			run.Elsewhere = append(run.Elsewhere, m.Destination)
		}
	}
	return run, nil
}

// names are those of environment variables, in order.
func names(env []string) (names []string) {
	for _, set := range env {
		name, _, _ := strings.Cut(set, "=")
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// restoreFacts is what it takes to make the volume again, and to start what runs on it. Credentials are in it only where nobody can read
// them without a key.
func (r *Runner) restoreFacts(one *reading) (snapshot.Restore, error) {
	v := one.volume
	facts := snapshot.Restore{Driver: v.Driver, Options: v.Options, Labels: v.Labels}
	for _, c := range v.Containers {
		facts.Containers = append(facts.Containers, snapshot.Container{
			Name: c.Name, Image: c.Image, ImageID: c.ImageID, Project: c.Project(), Service: c.Service(), Run: one.runs[c.ID],
		})
	}
	if !r.Seal.None() {
		return r.sealFacts(facts)
	}
	facts.Options, facts.Withheld = snapshot.WithoutCredentials(v.Options)
	for _, c := range facts.Containers {
		c.Run.Withhold()
	}
	return facts, nil
}
