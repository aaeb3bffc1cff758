package drill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/recognise"
	"github.com/backupd/backupd/internal/snapshot"
)

// stageEngine is what tells how a recorded container can be started again.
type stageEngine interface {
	Containers(ctx context.Context) ([]engine.Container, error)
	Setup(ctx context.Context, id string) (engine.Setup, error)
	Image(ctx context.Context, name string) (engine.Image, error)
}

// stage is what is started on a snapshot's data, and what is asked then.
type stage struct {
	container string       // name of the recorded one; "" when there is none to be started
	trial     engine.Trial // how it is started; without what is of the room
	databases []recognise.Find
	command   []string // to ask by, instead
	lacks     []string // what the recorded container had, in words
	memory    int64    // bytes that any container may use
	from      string   // id of the container of today
	binds     []string // where that one has something of its host, as the recorded one had
}

// set decides what is started. It finds out beforehand what would keep that from working.
func (r *Runner) set(ctx context.Context, req Request) (stage, error) {
	facts, err := req.From.Facts(req.Snapshot)
	if err != nil {
		return stage{}, err
	}
	databases, err := req.From.Databases(ctx, req.Snapshot)
	if err != nil {
		return stage{}, fmt.Errorf("recognise what it holds: %w", err)
	}
	s := stage{databases: databases, command: req.Exec, memory: req.Memory}
	chosen := choose(facts.Containers, s.serves() || req.Exec != nil)
	if chosen == nil {
		return s, unstarted(s, facts.Containers)
	}
	s.container = chosen.Name
	return s, r.cast(ctx, req, *chosen, &s)
}

// unstarted says what cannot be asked without a container.
func unstarted(s stage, recorded []snapshot.Container) error {
	i := slices.IndexFunc(recorded, func(c snapshot.Container) bool { return c.Run == nil })
	switch {
	case i >= 0:
		return fmt.Errorf("how its container %q was started is not recorded, as the backupd that made it knew no drills yet, or the engine did not tell: back it up once more", recorded[i].Name)
	case s.command != nil:
		return errors.New("there is a command to ask by, and no container is recorded that it could be run in")
	case s.serves():
		return fmt.Errorf("it holds data of %s, and no container is recorded that wrote to it: back it up once more while one has the volume mounted", kinds(s.databases))
	}
	return nil
}

// serves tells whether what is started is the server of a database.
func (s stage) serves() bool { return slices.ContainsFunc(s.databases, served) }

// served tells whether the database is what its container is for. The others are part of a program that is for something else.
func served(d recognise.Find) bool {
	return !slices.Contains([]recognise.Kind{recognise.SQLite, recognise.RocksDB, recognise.LevelDB}, d.Kind)
}

func kinds(databases []recognise.Find) string {
	var all []string
	for _, kind := range recognise.Kinds(databases) {
		all = append(all, string(kind))
	}
	return strings.Join(all, ", ")
}

// choose gives the recorded container that is started: the first that could write to the volume and that ran, or, where it is needed, that did
// not. Others, be they workers or what looks at the data, would have to find each other by the network that there is not.
func choose(recorded []snapshot.Container, needed bool) *snapshot.Container {
	for _, ran := range []bool{true, false} {
		for _, c := range recorded {
			if c.Run != nil && c.Run.Destination != "" && !c.Run.ReadOnly && c.Run.Active == ran && (ran || needed) {
				return &c
			}
		}
	}
	return nil
}

// cast finds what it takes to start a recorded container.
func (r *Runner) cast(ctx context.Context, req Request, c snapshot.Container, s *stage) error {
	image, err := r.image(ctx, c)
	if err != nil {
		return err
	}
	today, err := r.today(ctx, c)
	if err != nil {
		return err
	}
	env, missing, err := r.environment(req.EnvFile, c, image, today)
	if err != nil {
		return err
	}
	for _, name := range missing {
		s.lacks = append(s.lacks, "environment variable "+name)
	}
	s.from = today.id
	for _, at := range c.Run.Elsewhere {
		if slices.ContainsFunc(today.mounts, func(m engine.Mount) bool { return m.Destination == at && m.Volume == "" }) {
			s.binds = append(s.binds, at)
			continue
		}
		s.lacks = append(s.lacks, "what was mounted at "+at)
	}
	s.trial = engine.Trial{Image: image.ID, At: c.Run.Destination, PIDs: mostProcesses}
	s.trial.Setup, err = setup(*c.Run, today.Setup, req.Memory)
	s.trial.Env = env
	if errors.Is(err, snapshot.ErrWithheld) {
		err = fmt.Errorf("%w, and no container %q runs here today with the same one to take it from", err, c.Name)
	}
	return err
}

// image finds the recorded image in the engine. Nothing is fetched from anywhere.
func (r *Runner) image(ctx context.Context, c snapshot.Container) (engine.Image, error) {
	for _, name := range append([]string{c.ImageID}, c.Run.Digests...) {
		if name == "" {
			continue
		}
		image, err := r.Engine.Image(ctx, name)
		if !errors.Is(err, engine.ErrNotFound) {
			return image, err
		}
	}
	hint := fmt.Sprintf("it is in no registry that is known of, so load or build it (%s)", c.ImageID)
	if len(c.Run.Digests) > 0 {
		hint = "docker pull " + c.Run.Digests[0]
	}
	return engine.Image{}, fmt.Errorf("image %s of container %q is not here: %s", c.Image, c.Name, hint)
}

// current is the container that is today what the recorded one was.
type current struct {
	id      string // "" when there is none
	imageID string
	mounts  []engine.Mount
	engine.Setup
}

// today looks for it: of the same name, or of the same service of compose or swarm.
func (r *Runner) today(ctx context.Context, c snapshot.Container) (current, error) {
	containers, err := r.Engine.Containers(ctx)
	if err != nil {
		return current{}, err
	}
	i := slices.IndexFunc(containers, func(now engine.Container) bool { return now.Name == c.Name })
	if i < 0 && c.Service != "" {
		i = slices.IndexFunc(containers, func(now engine.Container) bool { return now.Project() == c.Project && now.Service() == c.Service })
	}
	if i < 0 {
		i = slices.IndexFunc(containers, func(now engine.Container) bool {
			return now.Task() && strings.HasPrefix(c.Name, now.SwarmServiceName()+".")
		})
	}
	if i < 0 || containers[i].Mute {
		return current{}, nil
	}
	setup, err := r.Engine.Setup(ctx, containers[i].ID)
	if errors.Is(err, engine.ErrNotFound) {
		return current{}, nil
	}
	now := containers[i]
	return current{id: now.ID, imageID: now.ImageID, mounts: now.Mounts, Setup: setup}, err
}

// probing is how often the container's own health check is made at least: a drill does not wait longer than it must.
const probing = 2 * time.Second

// setup is what was recorded, with today's credentials, within bounds.
func setup(was snapshot.Run, today engine.Setup, memory int64) (s engine.Setup, err error) {
	if s.Entrypoint, err = snapshot.Complete(was.Entrypoint, today.Entrypoint); err != nil {
		return s, err
	}
	if s.Command, err = snapshot.Complete(was.Command, today.Command); err != nil {
		return s, err
	}
	s.Folder, s.User, s.Memory, s.Shared = was.Folder, was.User, memory, was.Shared
	if was.Memory > 0 {
		s.Memory = min(s.Memory, was.Memory)
	}
	s.Shared = min(s.Shared, s.Memory)
	if h := was.Health; h != nil {
		var now engine.HealthCheck
		if today.Health != nil {
			now = *today.Health
		}
		test, err := snapshot.Complete(h.Test, now.Test)
		if err != nil {
			return s, err
		}
		s.Health = &engine.HealthCheck{Test: test, Interval: probing, Timeout: h.Timeout, Retries: h.Retries}
	}
	return s, nil
}
