package access

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/durable"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/folder"
	"github.com/backupd/backupd/internal/remote"
)

// HelperEngine is what helpers ask of an engine.
type HelperEngine interface {
	Platform(ctx context.Context) (engine.Platform, error)
	HasImage(ctx context.Context, name string) (bool, error)
	LoadImage(ctx context.Context, from io.Reader) error
	Images(ctx context.Context, label string) ([]string, error)
	RemoveImage(ctx context.Context, name string) error

	Containers(ctx context.Context) ([]engine.Container, error)
	Volume(ctx context.Context, name string) (engine.Volume, error)
	RemoveVolume(ctx context.Context, name string) error
	RunHelper(ctx context.Context, h engine.Helper) (engine.Stream, error)
	DeleteContainer(ctx context.Context, id string) error
}

// What a helper may do. To read and to set attributes named trusted.* takes CAP_SYS_ADMIN: without it they are not even listed, so that a
// backup would silently go without (docs/decisions).
func capabilities(write bool) []string {
	if write {
		return []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP", "SYS_ADMIN"}
	}
	return []string{"DAC_READ_SEARCH", "SYS_ADMIN"}
}

const (
	helperPrefix = "backupd-helper-"
	helperKind   = "helper" // of scratch volumes
)

// helpers opens volumes through helper containers.
type helpers struct {
	eng HelperEngine
	o   Options

	mu    sync.Mutex
	image *image // nil until it is needed
	swept bool
}

func (h *helpers) open(ctx context.Context, v engine.Volume, write bool) (_ Folder, err error) {
	image, err := h.prepare(ctx)
	if err != nil {
		return nil, err
	}
	var random [8]byte
	if _, err := io.ReadFull(h.o.Entropy, random[:]); err != nil {
		return nil, fmt.Errorf("name a helper container: %w", err)
	}
	used, err := durable.ShareLock(ctx, h.o.Lock)
	if err != nil {
		return nil, err
	}
	f := &helped{eng: h.eng, name: helperPrefix + hex.EncodeToString(random[:]), used: used}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	stream, err := h.eng.RunHelper(ctx, engine.Helper{
		Name: f.name, Image: image.name, Labels: map[string]string{engine.HelperLabel: h.o.Owner}, Volume: v.Name,
		Made: map[string]string{scratchLabel: helperKind}, ReadOnly: !write, Capabilities: capabilities(write),
	})
	if err != nil {
		return nil, err
	}
	f.Folder = remote.Dial(stream)
	return f, f.mustBe(ctx, v.Name)
}

// prepare has the engine know the image, once what was left lying about is gone.
func (h *helpers) prepare(ctx context.Context) (*image, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.image == nil {
		if err := runnable(ctx, h.eng); err != nil {
			return nil, err
		}
		program, err := os.Open(h.o.Program) // and never closed: an upgrade may replace the file
		if err != nil {
			return nil, fmt.Errorf("make an image of this program: %w", err)
		}
		if h.image, err = newImage(program); err != nil {
			return nil, errors.Join(fmt.Errorf("make an image of this program: %w", err), program.Close())
		}
	}
	if !h.swept {
		if err := h.sweepAll(ctx, h.image); err != nil {
			return nil, err
		}
		h.swept = true
	}
	return h.image, h.image.load(ctx, h.eng)
}

func (h *helpers) sweepAll(ctx context.Context, own *image) error {
	if err := h.sweep(ctx); err != nil {
		return err
	}
	names, err := h.eng.Images(ctx, imageLabel)
	if err != nil {
		return err
	}
	for _, name := range own.outdated(names) {
		if err := h.eng.RemoveImage(ctx, name); err != nil && !errors.Is(err, engine.ErrConflict) && !errors.Is(err, engine.ErrNotFound) {
			return err
		}
	}
	return nil
}

// sweep removes this owner's helpers, unless any process of this owner has one in use: then what is left waits for another time.
func (h *helpers) sweep(ctx context.Context) (err error) {
	unused, err := durable.TryLock(h.o.Lock)
	if errors.Is(err, durable.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unused.Unlock()) }()
	containers, err := h.eng.Containers(ctx)
	if err != nil {
		return fmt.Errorf("look for old helper containers: %w", err)
	}
	for _, c := range containers {
		if c.Labels[engine.HelperLabel] == h.o.Owner {
			if err := remove(ctx, h.eng, c.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

func remove(ctx context.Context, eng HelperEngine, container string) error {
	err := eng.DeleteContainer(context.WithoutCancel(ctx), container)
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return fmt.Errorf("a helper container is left behind: %w", err)
	}
	return nil
}

// helped is a volume that a helper container has open.
type helped struct {
	*remote.Folder
	eng  HelperEngine
	name string
	used *durable.Lock
}

// mustBe makes sure that the volume was there: the engine makes one that is not, and it would be taken for one that is empty.
func (f *helped) mustBe(ctx context.Context, volume string) error {
	v, err := f.eng.Volume(ctx, volume)
	if err != nil || v.Labels[scratchLabel] != helperKind {
		return err
	}
	return errors.Join(
		fmt.Errorf("volume %q: %w: it was removed just now", volume, engine.ErrNotFound),
		remove(ctx, f.eng, f.name),
		f.eng.RemoveVolume(context.WithoutCancel(ctx), volume),
	)
}

// Path is none of this host.
func (f *helped) Path() string { return "" }

func (f *helped) Take(ctx context.Context, w io.Writer, o archive.Options) (Taking, error) {
	t, err := f.Folder.Take(ctx, w, o)
	if err != nil { // and no nil that is not one
		return nil, err
	}
	return t, nil
}

func (f *helped) Replaced(ctx context.Context, again bool) (Stage, error) {
	s, err := f.Folder.Replaced(ctx, again)
	if err != nil { // and no nil that is not one
		return nil, err
	}
	return s, nil
}

func (f *helped) Stage(ctx context.Context, from folder.Source) (Stage, archive.Report, error) {
	s, report, err := f.Folder.Stage(ctx, from)
	if err != nil { // and no nil that is not one
		return nil, report, err
	}
	return s, report, nil
}

// Close lets the helper put things in order, and removes it, which it has done by itself as a rule.
func (f *helped) Close() error {
	if f.Folder != nil {
		_ = f.Folder.Close() // the connection is of no use any more, whatever it says
	}
	return errors.Join(remove(context.Background(), f.eng, f.name), f.used.Unlock())
}
