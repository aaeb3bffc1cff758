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

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/engine"
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

// Opener gives the folder with a volume's content.
type Opener interface {
	Path(ctx context.Context, v engine.Volume) (string, error)
}

// Keeper makes containers hold still.
type Keeper interface {
	Hold(ctx context.Context, req quiesce.Request) (quiesce.Holding, error)
}

// Runner restores snapshots. Progress may be nil; a runner that only restores to folders needs no Engine, Keeper and Access.
type Runner struct {
	Engine   Engine
	Keeper   Keeper
	Access   Opener
	Self     string // id of the container that this program runs in, or a prefix of it
	Log      *slog.Logger
	Progress func(written, expected int64) // bytes
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
	Old    string         // folder with the data that was replaced, if it could not be removed

	// Unhealthy says which containers are not as healthy on what was restored as they were before.
	Unhealthy []string
}

// ErrNotEmpty marks a destination that holds something already.
var ErrNotEmpty = errors.New("not empty")

// ErrNothing marks a restore of parts, none of which the snapshot has.
var ErrNothing = errors.New("nothing in it matches")

// ToDir restores into a folder, which is made if need be and must be empty.
func (r *Runner) ToDir(ctx context.Context, req Request, dir string) (Result, error) {
	made, err := makeDir(dir)
	if err != nil {
		return Result{}, err
	}
	if left, err := vacant(dir, req.IfEmpty); err != nil || left {
		return Result{Left: left}, err
	}
	result, err := r.fill(ctx, req, dir)
	if err != nil && made {
		err = errors.Join(err, os.Remove(dir)) // empty again
	}
	return result, err
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
func vacant(dir string, ifEmpty bool) (left bool, err error) {
	switch empty, err := isEmpty(dir); {
	case err != nil:
		return false, fmt.Errorf("look into the folder to restore to: %w", err)
	case !empty && !ifEmpty:
		return false, fmt.Errorf("restore to %s: it is %w", dir, ErrNotEmpty)
	default:
		return !empty, nil
	}
}

// fill extracts into an empty folder, and makes it what it was when that fails.
func (r *Runner) fill(ctx context.Context, req Request, dir string) (Result, error) {
	before, err := readAttributes(dir)
	if err != nil {
		return Result{}, err
	}
	report, err := r.extract(ctx, req, dir)
	if err == nil && report.Entries == 0 {
		err = fmt.Errorf("restore snapshot %s: %w: %q", req.Snapshot.ID, ErrNothing, req.Paths)
	}
	if err != nil {
		return Result{}, errors.Join(err, removeChildren(dir), before.apply(dir))
	}
	return Result{Report: report}, nil
}

// extract writes the snapshot below dir, and checks every stored byte on the way.
func (r *Runner) extract(ctx context.Context, req Request, dir string) (archive.Report, error) {
	m := req.Snapshot
	if err := enoughSpace(dir, m.Archives[0].Plain, req.Paths); err != nil {
		return archive.Report{}, err
	}
	o := archive.ExtractOptions{Paths: req.Paths}
	if r.Progress != nil {
		o.Progress = func(written int64) { r.Progress(written, m.Contents.Bytes) }
	}
	if len(req.Paths) > 0 {
		return extractPart(ctx, req, dir, o)
	}
	from, err := open(ctx, req)
	if err != nil {
		return archive.Report{}, err
	}
	defer from.Close()
	report, err := archive.Extract(ctx, from, dir, o)
	if err != nil {
		return archive.Report{}, fmt.Errorf("restore snapshot %s: %w", m.ID, from.explain(ctx, err))
	}
	return report, nil
}

// extractPart fetches no more than what is wanted, each piece of which is checked against its own digest.
func extractPart(ctx context.Context, req Request, dir string, o archive.ExtractOptions) (archive.Report, error) {
	from, err := req.From.Open(ctx, req.Snapshot)
	if err != nil {
		return archive.Report{}, err
	}
	defer from.Close()
	report, err := from.Extract(ctx, dir, o)
	if err != nil {
		return archive.Report{}, fmt.Errorf("restore snapshot %s: %w", req.Snapshot.ID, err)
	}
	return report, nil
}

// List tells what a restore would write, without writing anything.
func List(ctx context.Context, req Request, each func(archive.Entry) error) error {
	from, err := open(ctx, req)
	if err != nil {
		return err
	}
	defer from.Close()
	if err := archive.List(ctx, from, req.Paths, each); err != nil {
		return fmt.Errorf("list snapshot %s: %w", req.Snapshot.ID, from.explain(ctx, err))
	}
	return nil
}

// open opens the snapshot's archive. One that is gone although its manifest is there is the worst of damages.
func open(ctx context.Context, req Request) (*verified, error) {
	own := req.Snapshot.Archives[0]
	ref := req.Snapshot.Ref()
	ref.ID = own.ID
	r, err := req.From.OpenArchive(ctx, ref, 0, -1)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: it is gone: %w", ErrDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	return newVerified(r, own), nil
}
