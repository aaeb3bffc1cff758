// Package access opens a volume for reading or writing wherever it lives; in this version that is a path on this host.
package access

import (
	"context"
	"errors"
	"io"

	"github.com/backupd/backupd/internal/engine"
)

// Engine is what the proof asks of an engine.
type Engine interface {
	Volumes(ctx context.Context) ([]engine.Volume, error)
	Volume(ctx context.Context, name string) (engine.Volume, error)
	CreateVolume(ctx context.Context, v engine.Volume) (engine.Volume, error)
	RemoveVolume(ctx context.Context, name string) error
}

// Proven gives paths of volumes of an engine, once it is proven that the engine is of this host.
type Proven struct {
	eng     Engine
	entropy io.Reader
}

// NewProven gives a Proven that has yet to prove anything.
func NewProven(eng Engine, entropy io.Reader) *Proven { return &Proven{eng: eng, entropy: entropy} }

// Path gives the folder with the volume's content.
func (p *Proven) Path(ctx context.Context, v engine.Volume) (string, error) {
	return "", errors.ErrUnsupported
}

// Direct gives paths of volumes that are folders of this host by nature, and so need no proof.
type Direct struct{}

// Path gives the folder with the volume's content.
func (Direct) Path(ctx context.Context, v engine.Volume) (string, error) {
	return v.Mountpoint, nil
}
