// Package dir lets a folder of folders stand in for an engine: each folder directly in it is a volume, and there are no containers.
//
// It serves a backupd that is given data without the engine's socket. It holds nothing still, and tells of no events: who wants to
// know of new folders looks again from time to time.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// Driver is the driver of these volumes.
const Driver = "dir"

// recovered is where fsck puts what it finds; the root of an ext file system has it, and it is nobody's volume.
const recovered = "lost+found"

// Source is a folder of volumes.
type Source struct {
	root string
	name string
}

// Open opens the folder of volumes at a path.
func Open(path string) (*Source, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open folder of volumes %q: %w", path, err)
	}
	info, err := os.Stat(root)
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, fmt.Errorf("open folder of volumes: %w", err)
	}
	name, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("open folder of volumes %q: %w", path, err)
	}
	return &Source{root: root, name: name}, nil
}

// Address is that of no engine.
func (s *Source) Address() string { return "" }

// Info names the machine. There is no engine to have an id.
func (s *Source) Info(context.Context) (engine.Info, error) {
	return engine.Info{Name: s.name, Root: s.root}, nil
}

// Volumes lists the folders, sorted by name. Links are not followed, because what they point to may be anywhere.
func (s *Source) Volumes(context.Context) ([]engine.Volume, error) {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	var volumes []engine.Volume
	for _, e := range entries {
		if e.IsDir() && possible(e.Name()) {
			volumes = append(volumes, s.volume(e.Name()))
		}
	}
	return volumes, nil
}

// Volume looks one volume up by its name.
func (s *Source) Volume(_ context.Context, name string) (engine.Volume, error) {
	if !possible(name) {
		return engine.Volume{}, fmt.Errorf("inspect volume %q: %w", name, engine.ErrNotFound)
	}
	info, err := os.Lstat(filepath.Join(s.root, name))
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir():
		return engine.Volume{}, fmt.Errorf("inspect volume %q: %w", name, engine.ErrNotFound)
	case err != nil:
		return engine.Volume{}, fmt.Errorf("inspect volume %q: %w", name, err)
	}
	return s.volume(name), nil
}

// CreateVolume makes a folder. What a folder cannot have (another driver, options, labels) is dropped: the answer says what there is.
// Anything that has the name already is engine.ErrConflict.
func (s *Source) CreateVolume(_ context.Context, v engine.Volume) (engine.Volume, error) {
	if !possible(v.Name) {
		return engine.Volume{}, fmt.Errorf("create volume %q: this is no name for a volume", v.Name)
	}
	err := os.Mkdir(filepath.Join(s.root, v.Name), 0o755)
	if errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("%w: %w", engine.ErrConflict, err)
	}
	if err != nil {
		return engine.Volume{}, fmt.Errorf("create volume %q: %w", v.Name, err)
	}
	return s.volume(v.Name), nil
}

// RemoveVolume removes an empty folder. One that is not empty is engine.ErrConflict: there is no engine that could tell whether
// somebody uses it.
func (s *Source) RemoveVolume(ctx context.Context, name string) error {
	v, err := s.Volume(ctx, name)
	if err == nil {
		err = syscall.Rmdir(v.Mountpoint) // unlike os.Remove this spares a file that takes the folder's place
	}
	if errors.Is(err, syscall.ENOTEMPTY) {
		err = fmt.Errorf("%w: %w", engine.ErrConflict, err)
	}
	if err != nil {
		return fmt.Errorf("remove volume %q: %w", name, err)
	}
	return nil
}

// Events yields nothing but the end of ctx.
func (s *Source) Events(ctx context.Context, _ time.Time) iter.Seq2[engine.Event, error] {
	return func(yield func(engine.Event, error) bool) {
		<-ctx.Done()
		yield(engine.Event{}, context.Cause(ctx))
	}
}

func (s *Source) volume(name string) engine.Volume {
	return engine.Volume{Name: name, Driver: Driver, Mountpoint: filepath.Join(s.root, name)}
}

// possible tells whether a folder directly in the root could have the name, and be a volume.
func possible(name string) bool {
	switch name {
	case "", ".", "..", recovered, "." + recovered:
		return false
	}
	return !strings.ContainsAny(name, "/\x00")
}
