package restore

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/backupd/backupd/internal/archive"
)

// Salvage restores what can be read of a damaged archive into an empty folder, which is made if need be. What the damage hits is in the
// result's report, and the error is ErrDamaged then, beside the result. An archive that is sound is restored as by ToDir.
func (r *Runner) Salvage(ctx context.Context, req Request, dir string) (Result, error) {
	made, err := makeDir(dir)
	if err != nil {
		return Result{}, err
	}
	if left, err := vacant(dir, req.IfEmpty); err != nil || left {
		return Result{Left: left}, err
	}
	o := archive.ExtractOptions{Paths: req.Paths, KeepGoing: true}
	if r.Progress != nil {
		o.Progress = func(written int64) { r.Progress(written, req.Snapshot.Contents.Bytes) }
	}
	report, err := salvage(ctx, req, dir, o)
	switch {
	case err == nil, errors.Is(err, archive.ErrDamaged):
		return Result{Report: report}, damaged(req, err)
	case made:
		err = errors.Join(err, os.RemoveAll(dir))
	default:
		err = errors.Join(err, removeChildren(dir))
	}
	return Result{}, fmt.Errorf("restore snapshot %s: %w", req.Snapshot.ID, err)
}

// salvage goes by the index, which knows the names of what is hit. Where nothing can be made of that, there is still the tar.
func salvage(ctx context.Context, req Request, dir string, o archive.ExtractOptions) (archive.Report, error) {
	indexed, err := req.From.Open(ctx, req.Snapshot)
	if err == nil {
		defer indexed.Close()
		return indexed.Extract(ctx, dir, o)
	}
	if _, unread := errors.AsType[*archive.SourceError](err); unread || ctx.Err() != nil {
		return archive.Report{}, err
	}
	own, ref := req.Snapshot.Archives[0], req.Snapshot.Ref()
	ref.ID = own.ID
	from, err := req.From.OpenArchive(ctx, ref, 0, -1)
	if err != nil {
		return archive.Report{}, err
	}
	defer from.Close()
	return archive.Extract(ctx, from, dir, o)
}

func damaged(req Request, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("restore snapshot %s: %w: what it does not hit was restored: %w", req.Snapshot.ID, ErrDamaged, err)
}
