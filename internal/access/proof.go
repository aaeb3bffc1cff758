package access

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// A scratch volume is known by both its name and its label, so that no other is ever removed.
const (
	scratchPrefix = "backupd-scratch-"
	scratchLabel  = "backupd.scratch"
	scratchKind   = "probe"
)

// ProofEngine is what the proof asks of an engine.
type ProofEngine interface {
	Volumes(ctx context.Context) ([]engine.Volume, error)
	CreateVolume(ctx context.Context, v engine.Volume) (engine.Volume, error)
	RemoveVolume(ctx context.Context, name string) error
}

// paths gives paths of an engine's volumes, once it is proven that the engine keeps them on this host. What was found holds for good: only a
// call of the engine's that failed is made anew.
type paths struct {
	eng     ProofEngine
	entropy io.Reader

	mu        sync.Mutex
	root      string // folder of the engine's volumes; "" until proven
	disproved error
}

// prove gives the folder of the engine's volumes, which is proven once: a new volume with a name that nobody can guess appears in it.
func (p *paths) prove(ctx context.Context) (root string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.root != "" || p.disproved != nil {
		return p.root, p.disproved
	}
	if err := p.sweep(ctx); err != nil {
		return "", err
	}
	const tries = 3 // one may be swept away by another backupd that starts right now
	for range tries {
		if root, err = p.probe(ctx); !errors.As(err, new(elsewhereError)) {
			break
		}
	}
	if errors.As(err, new(elsewhereError)) {
		p.disproved = err
		return "", err
	}
	if err != nil {
		return "", fmt.Errorf("prove that the engine's volumes are on this host: %w", err)
	}
	p.root = root
	return root, nil
}

func (p *paths) probe(ctx context.Context) (root string, err error) {
	var random [16]byte
	if _, err := io.ReadFull(p.entropy, random[:]); err != nil {
		return "", fmt.Errorf("name a scratch volume: %w", err)
	}
	name := scratchPrefix + hex.EncodeToString(random[:])
	// Also when making it failed: the engine may have made it all the same.
	defer func() { err = errors.Join(err, p.remove(ctx, name)) }()
	v, err := p.eng.CreateVolume(ctx, engine.Volume{
		Name: name, Driver: "local", Labels: map[string]string{scratchLabel: scratchKind},
	})
	if err != nil {
		return "", fmt.Errorf("make scratch volume %s: %w", name, err)
	}
	if filepath.Base(v.Mountpoint) != "_data" || filepath.Base(filepath.Dir(v.Mountpoint)) != name || !filepath.IsAbs(v.Mountpoint) {
		return "", fmt.Errorf("the engine keeps scratch volume %s at %q, which names no folder for volumes", name, v.Mountpoint)
	}
	root = filepath.Dir(filepath.Dir(v.Mountpoint))
	return root, missing(isFolder(v.Mountpoint), root)
}

// missing says what it means that a scratch volume does not show.
func missing(err error, root string) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return elsewhereError(fmt.Sprintf("a volume made in the engine does not show in %s", root))
	case errors.Is(err, fs.ErrPermission):
		return elsewhereError(fmt.Sprintf("%s is not open to this user", root))
	}
	return err
}

func (p *paths) remove(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := p.eng.RemoveVolume(ctx, name); err != nil && !errors.Is(err, engine.ErrNotFound) {
		return fmt.Errorf("remove scratch volume %s: %w", name, err)
	}
	return nil
}

// sweep removes the scratch volumes of probes that were killed.
func (p *paths) sweep(ctx context.Context) error {
	volumes, err := p.eng.Volumes(ctx)
	if err != nil {
		return fmt.Errorf("look for old scratch volumes: %w", err)
	}
	for _, v := range volumes {
		if strings.HasPrefix(v.Name, scratchPrefix) && v.Labels[scratchLabel] == scratchKind {
			if err := p.remove(ctx, v.Name); err != nil {
				return err
			}
		}
	}
	return nil
}
