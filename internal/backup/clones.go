package backup

import (
	"context"
	"errors"
	"path/filepath"
	"sync"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/quiesce"
)

// Clones gives the folder in which a volume's files are to be cloned, so that its containers are held for moments, or says why they are
// read while containers are held. dir is the folder with its content.
func Clones(v plan.Volume, dir string) (string, error) {
	if v.Quiesce.Value == quiesce.None {
		return "", errors.New("no container is held")
	}
	beside := filepath.Dir(dir)
	if err := archive.CanClone(dir, beside); err != nil {
		return "", err
	}
	return beside, nil
}

// writeBack makes cloning, and waiting for what is dirty, quick for what is so now. Where it cannot, that only takes longer.
func (r *Runner) writeBack(ctx context.Context, readings []*reading) {
	for _, one := range readings {
		if one.clones == "" && !one.timed {
			continue
		}
		if err := archive.WriteBack(ctx, one.folder.Path(), r.archiveOptions(one)); err != nil && ctx.Err() == nil {
			r.Log.Warn("containers may be held longer than need be", "volume", one.volume.Name, "err", err)
		}
	}
}

// keepWrittenBack goes on with that until it is told to stop: a database that is about to be held makes more dirty meanwhile. It does not
// go on for ever, as containers of another hold may have to be waited for.
func (r *Runner) keepWrittenBack(ctx context.Context, readings []*reading) (stop func()) {
	const passes = 16
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		for i := 0; i < passes && ctx.Err() == nil; i++ {
			r.writeBack(ctx, readings)
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}
