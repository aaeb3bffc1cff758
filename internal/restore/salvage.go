package restore

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/folder"
	"github.com/backupd/backupd/internal/seal"
)

// Salvage restores what can be read of a damaged archive into an empty folder, which is made if need be. What the damage hits is in the
// result's report, and the error is archive.ErrDamaged then, beside the result. An archive that is sound is restored as by ToDir.
func (r *Runner) Salvage(ctx context.Context, req Request, dir string) (Result, error) {
	made, err := makeDir(dir)
	if err != nil {
		return Result{}, err
	}
	to := folder.At(dir, false)
	if left, err := vacant(ctx, to, req.IfEmpty); err != nil || left {
		return Result{Left: left}, ofDir(dir, err)
	}
	found := salvage{delivery: r.delivery(req)}
	report, err := to.Fill(ctx, &found)
	if err != nil && made {
		err = errors.Join(err, os.Remove(dir)) // empty again
	}
	return Result{Report: report}, errors.Join(damaged(req, found.damage), err)
}

// salvage is a damaged snapshot on its way into a folder.
type salvage struct {
	delivery
	damage error
}

// Size is not known: who knows what is left of it.
func (*salvage) Size() int64 { return 0 }

func (s *salvage) Extract(ctx context.Context, dir string) (archive.Report, error) {
	s.o.KeepGoing = true
	report, err := s.extract(ctx, dir)
	if errors.Is(err, archive.ErrDamaged) {
		s.damage, err = err, nil
	}
	return report, s.named(err)
}

// extract goes by the index, which knows the names of what is hit. Where nothing can be made of that, there is still the tar.
func (s *salvage) extract(ctx context.Context, dir string) (archive.Report, error) {
	indexed, err := s.req.From.Open(ctx, s.req.Snapshot)
	if err == nil {
		defer indexed.Close()
		return indexed.Extract(ctx, dir, s.o)
	}
	_, unread := errors.AsType[*archive.SourceError](err)
	if unread || errors.Is(err, seal.ErrLocked) || ctx.Err() != nil || s.req.Snapshot.Leans() { // a tar that lies in several archives is none without the index
		return archive.Report{}, err
	}
	from, directory, err := s.req.From.Stream(ctx, s.req.Snapshot)
	if err != nil {
		return archive.Report{}, err
	}
	defer from.Close()
	o := s.o
	o.Directory = directory
	return archive.Extract(ctx, from, dir, o)
}

func damaged(req Request, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("restore snapshot %s: %w (what it does not hit was restored)", req.Snapshot.ID, err)
}
