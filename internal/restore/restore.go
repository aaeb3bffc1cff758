// Package restore gives one snapshot back: to a folder, to a volume, or in place of what a volume holds now.
//
// Whatever goes wrong, what was there before is still there: data is written only where nothing is, or beside what is there, and
// nothing is exchanged before the last byte has been checked. Choosing the snapshot is package catalog's part.
package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/backupd/backupd/internal/access"
	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/folder"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/snapshot"
)

// Engine is what a restore asks of the place where volumes live.
type Engine interface {
	quiesce.Looker
	Volume(ctx context.Context, name string) (engine.Volume, error)
	CreateVolume(ctx context.Context, v engine.Volume) (engine.Volume, error)
	RemoveVolume(ctx context.Context, name string) error
	Containers(ctx context.Context) ([]engine.Container, error)
}

// Opener opens volumes for reading and writing.
type Opener interface {
	Reader(ctx context.Context, v engine.Volume) (access.Folder, error)
	Writer(ctx context.Context, v engine.Volume) (access.Folder, error)
}

// Keeper makes containers hold still.
type Keeper interface {
	Hold(ctx context.Context, req quiesce.Request) (quiesce.Holding, error)
}

// Runner restores snapshots. Progress may be nil; a runner that only restores to folders needs no more than a Log.
type Runner struct {
	Engine   Engine
	Keeper   Keeper
	Access   Opener
	Self     string // id of the container that this program runs in, or a prefix of it
	Log      *slog.Logger
	Progress func(written, expected int64) // bytes

	Exchanges Exchanges // of restores in place, as is the clock
	Now       func() time.Time
}

// Request is one snapshot to give back. Who makes it holds the lock of the snapshot's volume, and of the one restored to.
type Request struct {
	Snapshot snapshot.Manifest
	From     *catalog.Catalog
	Paths    []string // globs of what is wanted; none is all
	IfEmpty  bool     // leave a destination alone that is not empty
}

// Result is what came of a restore.
type Result struct {
	Left   bool // the destination was not empty, and left alone as was asked for
	Report archive.Report
	Held   quiesce.Report // containers that were stopped meanwhile
	Kept   string         // folder with what was replaced; "" is none
	Undone bool           // what was replaced has been put back

	// Unhealthy says which containers are not as healthy on what was restored as they were before.
	Unhealthy []string
}

// ErrNotEmpty marks a destination that holds something already.
var ErrNotEmpty = errors.New("not empty")

// ErrNothing marks a restore of parts, none of which the snapshot has.
var ErrNothing = folder.ErrNothing

// ToDir restores into a folder, which is made if need be and must be empty.
func (r *Runner) ToDir(ctx context.Context, req Request, dir string) (Result, error) {
	made, err := makeDir(dir)
	if err != nil {
		return Result{}, err
	}
	to := folder.At(dir, false)
	if _, err := to.Settle(ctx); err != nil { // what another restore was killed at
		return Result{}, ofDir(dir, err)
	}
	if left, err := vacant(ctx, to, req.IfEmpty); err != nil || left {
		return Result{Left: left}, ofDir(dir, err)
	}
	result, err := r.fill(ctx, req, to)
	if err != nil && made {
		err = errors.Join(err, os.Remove(dir)) // empty again
	}
	return result, err
}

func (r *Runner) fill(ctx context.Context, req Request, to interface {
	Fill(ctx context.Context, from folder.Source) (archive.Report, error)
}) (Result, error) {
	report, err := to.Fill(ctx, r.delivery(req))
	if err != nil {
		return Result{}, named(req, err)
	}
	return Result{Report: report}, nil
}

// named says what was wanted of which snapshot that has nothing of it.
func named(req Request, err error) error {
	if errors.Is(err, ErrNothing) {
		return fmt.Errorf("restore snapshot %s: %w: %q", req.Snapshot.ID, err, req.Paths)
	}
	return err
}

func ofDir(dir string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("restore to %s: %w", dir, err)
}

func makeDir(dir string) (made bool, err error) {
	switch err := os.Mkdir(dir, 0o700); {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrExist):
		return false, nil
	default:
		return false, fmt.Errorf("make the folder to restore to: %w", err)
	}
}

// vacant makes sure that a folder is empty. With ifEmpty one that is not is no error, but to be left alone.
func vacant(ctx context.Context, f interface {
	Empty(ctx context.Context) (bool, error)
}, ifEmpty bool) (left bool, err error) {
	switch empty, err := f.Empty(ctx); {
	case err != nil:
		return false, fmt.Errorf("look whether it is empty: %w", err)
	case !empty && !ifEmpty:
		return false, fmt.Errorf("it is %w", ErrNotEmpty)
	default:
		return !empty, nil
	}
}
