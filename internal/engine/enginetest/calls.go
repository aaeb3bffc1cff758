package enginetest

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// call is one call of the engine: faults see it, and nobody is there while the engine is down.
func (f *Fake) call(ctx context.Context, name string, effect func() error) error {
	return f.Faults.Call(ctx, name, func() error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.down {
			return fmt.Errorf("%s: %w", name, engine.ErrUnreachable)
		}
		return effect()
	})
}

// Info tells of the engine.
func (f *Fake) Info(ctx context.Context) (info engine.Info, err error) {
	err = f.call(ctx, "info", func() error {
		info = engine.Info{ID: "FAKE", Name: "fakehost", Version: "0", Root: f.root}
		return nil
	})
	return info, err
}

// Volumes lists all, sorted by name.
func (f *Fake) Volumes(ctx context.Context) (volumes []engine.Volume, err error) {
	err = f.call(ctx, "list volumes", func() error {
		volumes = slices.SortedFunc(maps.Values(f.volumes), func(a, b engine.Volume) int { return strings.Compare(a.Name, b.Name) })
		return nil
	})
	return volumes, err
}

// Volume looks one up.
func (f *Fake) Volume(ctx context.Context, name string) (v engine.Volume, err error) {
	err = f.call(ctx, "inspect volume "+name, func() error {
		var there bool
		if v, there = f.volumes[name]; !there {
			return fmt.Errorf("inspect volume %q: %w", name, engine.ErrNotFound)
		}
		return nil
	})
	return v, err
}

// CreateVolume makes one that is not there yet.
func (f *Fake) CreateVolume(ctx context.Context, v engine.Volume) (made engine.Volume, err error) {
	err = f.call(ctx, "create volume "+v.Name, func() error {
		made, err = f.createVolume(v)
		return err
	})
	return made, err
}

// RemoveVolume removes one that no container mounts.
func (f *Fake) RemoveVolume(ctx context.Context, name string) error {
	return f.call(ctx, "remove volume "+name, func() error {
		v, there := f.volumes[name]
		if !there {
			return fmt.Errorf("remove volume %q: %w", name, engine.ErrNotFound)
		}
		for _, c := range f.containers {
			if slices.ContainsFunc(c.Mounts, func(m engine.Mount) bool { return m.Volume == name }) {
				return fmt.Errorf("remove volume %q: %w: container %s mounts it", name, engine.ErrConflict, c.Name)
			}
		}
		delete(f.volumes, name)
		f.emit(engine.Event{Type: "volume", Action: "destroy", ID: name})
		return os.RemoveAll(filepath.Dir(v.Mountpoint))
	})
}

// Containers lists all.
func (f *Fake) Containers(ctx context.Context) (containers []engine.Container, err error) {
	err = f.call(ctx, "list containers", func() error {
		for _, c := range f.containers {
			containers = append(containers, told(c))
		}
		return nil
	})
	return containers, err
}

// Container looks one up by its id or name.
func (f *Fake) Container(ctx context.Context, id string) (seen engine.Container, err error) {
	err = f.on(ctx, "inspect", id, func(c *Container) error {
		seen = told(c)
		return nil
	})
	return seen, err
}

// Pause holds a running container.
func (f *Fake) Pause(ctx context.Context, id string) error {
	return f.on(ctx, "pause", id, func(c *Container) error {
		if c.State != engine.Running {
			return inConflict(c)
		}
		if c.frozen {
			return engine.ErrFrozen
		}
		c.State = engine.Paused
		f.happened(c.Container, "pause")
		return nil
	})
}

// Unpause lets a paused container go on.
func (f *Fake) Unpause(ctx context.Context, id string) error {
	return f.on(ctx, "unpause", id, func(c *Container) error {
		if c.State != engine.Paused {
			return inConflict(c)
		}
		c.State = engine.Running
		f.happened(c.Container, "unpause")
		return nil
	})
}

// Stop ends a container at once, whatever the time-out.
func (f *Fake) Stop(ctx context.Context, id string, _ time.Duration) error {
	return f.on(ctx, "stop", id, func(c *Container) error {
		if !c.Active() {
			return nil
		}
		f.end(c)
		f.happened(c.Container, "stop")
		if c.AutoRemove {
			f.remove(c)
		}
		f.replace(c)
		return nil
	})
}

// Start starts a container that does not run.
func (f *Fake) Start(ctx context.Context, id string) error {
	return f.on(ctx, "start", id, func(c *Container) error {
		switch c.State {
		case engine.Running, engine.Restarting:
			return nil
		case engine.Created, engine.Exited:
			c.State, c.Started = engine.Running, f.tick()
			f.happened(c.Container, "start")
			if c.OnStart != nil {
				c.OnStart(&c.Container)
			}
			if c.State != engine.Running {
				f.happened(c.Container, "die")
			}
			return nil
		default:
			return inConflict(c)
		}
	})
}

func (f *Fake) on(ctx context.Context, verb, id string, effect func(*Container) error) error {
	return f.call(ctx, verb+" container "+id, func() error {
		c, err := f.find(id)
		if err == nil {
			err = effect(c)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", verb, err)
		}
		return nil
	})
}

func inConflict(c *Container) error {
	return fmt.Errorf("container %q: %w: it is %s", c.Name, engine.ErrConflict, c.State)
}

// Events yields what happened since then, and what happens until ctx ends or the engine goes down.
func (f *Fake) Events(ctx context.Context, since time.Time) iter.Seq2[engine.Event, error] {
	return func(yield func(engine.Event, error) bool) {
		next, start := 0, 0
		err := f.call(ctx, "follow events", func() error {
			start, next = f.starts, len(f.events)
			for !since.IsZero() && next > 0 && !f.events[next-1].Time.Before(since) {
				next--
			}
			return nil
		})
		for err == nil {
			var news <-chan struct{}
			var more []engine.Event
			if more, news, err = f.after(next, start); err != nil {
				break
			}
			next += len(more)
			for _, e := range more {
				if !yield(e, nil) {
					return
				}
			}
			if len(more) > 0 {
				continue
			}
			select {
			case <-news:
			case <-ctx.Done():
				err = context.Cause(ctx)
			}
		}
		yield(engine.Event{}, fmt.Errorf("follow events: %w", err))
	}
}

// after gives the events from a place on, of the engine as it was started then, and what is closed when there are others.
func (f *Fake) after(next, start int) ([]engine.Event, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.starts != start {
		return nil, nil, fmt.Errorf("%w: the stream ended", engine.ErrUnreachable)
	}
	return slices.Clone(f.events[next:]), f.news, nil
}
