package enginetest

import (
	"archive/tar"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"sync"

	"github.com/backupd/backupd/internal/engine"
)

// Platform tells what the engine runs programs of.
func (f *Fake) Platform(ctx context.Context) (p engine.Platform, err error) {
	err = f.call(ctx, "ask for the platform", func() error {
		p = cmp.Or(f.Kind, engine.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH})
		return nil
	})
	return p, err
}

// HasImage tells whether an image was loaded.
func (f *Fake) HasImage(ctx context.Context, name string) (there bool, err error) {
	err = f.call(ctx, "inspect image", func() error {
		there = f.images[name]
		return nil
	})
	return there, err
}

// LoadImage believes what the archive says of the names in it.
func (f *Fake) LoadImage(ctx context.Context, from io.Reader) error {
	return f.call(ctx, "load image", func() error {
		for tr := tar.NewReader(from); ; {
			h, err := tr.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			var manifest []struct{ RepoTags []string }
			if err == nil && h.Name == "manifest.json" {
				err = json.NewDecoder(tr).Decode(&manifest)
			}
			if err != nil {
				return fmt.Errorf("load image: %w", err)
			}
			for _, image := range manifest {
				for _, name := range image.RepoTags {
					f.images[name] = true
				}
			}
		}
	})
}

// Images lists all that were loaded, as if all had the label.
func (f *Fake) Images(ctx context.Context, _ string) (names []string, err error) {
	err = f.call(ctx, "list images", func() error {
		names = slices.Sorted(maps.Keys(f.images))
		return nil
	})
	return names, err
}

// RemoveImage removes one.
func (f *Fake) RemoveImage(ctx context.Context, name string) error {
	return f.call(ctx, "remove image", func() error {
		if !f.images[name] {
			return fmt.Errorf("remove image %s: %w", name, engine.ErrNotFound)
		}
		delete(f.images, name)
		return nil
	})
}

// RunHelper runs Helper as the process of a container, which goes when that ends. A volume that is not there is made.
func (f *Fake) RunHelper(ctx context.Context, h engine.Helper) (s engine.Stream, err error) {
	err = f.call(ctx, "run helper", func() error {
		if !f.images[h.Image] {
			return fmt.Errorf("run helper %s: image %s: %w", h.Name, h.Image, engine.ErrNotFound)
		}
		v, there := f.volumes[h.Volume]
		if !there {
			if v, err = f.createVolume(engine.Volume{Name: h.Volume, Labels: h.Made}); err != nil {
				return err
			}
		}
		s = f.start(h, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (f *Fake) start(h engine.Helper, v engine.Volume) engine.Stream {
	in, toIn := io.Pipe()
	fromOut, out := io.Pipe()
	s := &stream{PipeReader: fromOut, in: toIn, over: make(chan struct{})}
	c := f.addContainer(Container{Container: engine.Container{
		Name: h.Name, Image: h.Image, Labels: h.Labels, AutoRemove: true,
		Mounts: []engine.Mount{{Volume: h.Volume, Source: v.Mountpoint, Destination: engine.HelperFolder, ReadOnly: h.ReadOnly}},
	}})
	killed := errors.New("the helper container ended with exit code 137")
	c.OnStop = func() {
		in.CloseWithError(killed)
		out.CloseWithError(killed)
	}
	go func() {
		defer close(s.over)
		err := f.Helper(in, out, v.Mountpoint)
		in.CloseWithError(io.ErrClosedPipe)
		out.CloseWithError(err) // nil is io.EOF
		f.mu.Lock()
		defer f.mu.Unlock()
		if slices.Contains(f.containers, c) {
			c.State = engine.Exited
			f.remove(c)
		}
	}()
	return s
}

// stream leads to a helper's process.
type stream struct {
	*io.PipeReader
	in   *io.PipeWriter
	over chan struct{}
	once sync.Once
}

func (s *stream) Write(p []byte) (int, error) { return s.in.Write(p) }
func (s *stream) CloseWrite() error           { return s.in.Close() }

// Close ends both directions, and waits for the process, which ends when it sees that.
func (s *stream) Close() error {
	s.once.Do(func() {
		_ = s.in.Close()
		_ = s.PipeReader.CloseWithError(io.ErrClosedPipe)
	})
	<-s.over
	return nil
}

// DeleteContainer removes a container, whatever it is doing.
func (f *Fake) DeleteContainer(ctx context.Context, id string) error {
	return f.on(ctx, "remove", id, func(c *Container) error {
		f.end(c)
		f.remove(c)
		return nil
	})
}
