package enginetest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/backupd/backupd/internal/engine"
)

// AddImage has the engine know an image, by its id and its digests.
func (w *world) AddImage(i engine.Image) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known = append(w.known, i)
}

// Setup tells how a container's process is started.
func (f *Fake) Setup(ctx context.Context, id string) (s engine.Setup, err error) {
	err = f.on(ctx, "inspect the setup of", id, func(c *Container) error {
		s = c.Setup
		s.Env = slices.Clone(s.Env)
		return nil
	})
	return s, err
}

// Image looks up one that was added.
func (f *Fake) Image(ctx context.Context, name string) (found engine.Image, err error) {
	err = f.call(ctx, "inspect image "+name, func() error {
		found, err = f.image(name)
		return err
	})
	return found, err
}

func (w *world) image(name string) (engine.Image, error) {
	for _, i := range w.known {
		if i.ID == name || slices.Contains(i.Digests, name) {
			return i, nil
		}
	}
	return engine.Image{}, fmt.Errorf("image %s: %w", name, engine.ErrNotFound)
}

// CreateTrial makes a container that does what Trial says.
func (f *Fake) CreateTrial(ctx context.Context, t engine.Trial) (id string, err error) {
	err = f.call(ctx, "create trial", func() error {
		if _, err := f.find(t.Name); err == nil {
			return fmt.Errorf("create container %s: %w: the name is taken", t.Name, engine.ErrConflict)
		}
		image, err := f.image(t.Image)
		if err != nil {
			return fmt.Errorf("create container %s: %w", t.Name, err)
		}
		if _, there := f.volumes[t.Volume]; !there {
			return fmt.Errorf("create container %s: volume %s: %w", t.Name, t.Volume, engine.ErrNotFound)
		}
		var c Container
		if f.Trial != nil {
			c = f.Trial(t)
		}
		c.Container.Name, c.Image, c.ImageID, c.Labels, c.State = t.Name, t.Image, image.ID, t.Labels, engine.Created
		c.Mounts = []engine.Mount{{Volume: t.Volume, Destination: t.At}}
		c.Setup = t.Setup
		id = f.addContainer(c).ID
		return nil
	})
	return id, err
}

// Logged gives the last lines of a container's Log.
func (f *Fake) Logged(ctx context.Context, id string, lines int) (text string, err error) {
	err = f.on(ctx, "read the log of", id, func(c *Container) error {
		all := strings.SplitAfter(c.Log, "\n")
		text = strings.Join(all[max(0, len(all)-lines-1):], "")
		return nil
	})
	return text, err
}

// CopyInto copies one of a container's Files.
func (f *Fake) CopyInto(ctx context.Context, from, to, path string, most int64) error {
	return f.on(ctx, "copy from", from, func(c *Container) error {
		other, err := f.find(to)
		size, there := c.Files[path]
		switch {
		case err != nil:
			return err
		case !there:
			return fmt.Errorf("copy %s: %w", path, engine.ErrNotFound)
		case size > most:
			return fmt.Errorf("copy %s: it is too large to be copied", path)
		}
		if other.Files == nil {
			other.Files = map[string]int64{}
		}
		other.Files[path] = size
		return nil
	})
}
