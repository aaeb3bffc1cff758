package catalog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/backupd/backupd/internal/durable"
	"github.com/backupd/backupd/internal/snapshot"
)

// Locks are the locks of volumes: one file each in a folder. Whoever writes or removes snapshots of a volume, or counts on them to
// stay, holds its lock.
type Locks struct{ Dir string }

// Hold takes the locks of the volumes and waits for those that somebody else has, this process included. It takes them in one
// order everywhere, so that nobody waits for each other.
func (l Locks) Hold(ctx context.Context, volumes ...string) (release func() error, err error) {
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of locks: %w", err)
	}
	var held []*durable.Lock
	release = func() error {
		var errs []error
		for _, lock := range slices.Backward(held) {
			errs = append(errs, lock.Unlock())
		}
		return errors.Join(errs...)
	}
	for _, volume := range slices.Compact(slices.Sorted(slices.Values(volumes))) {
		lock, err := durable.LockWait(ctx, l.file(volume))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock volume %q: %w", volume, err), release())
		}
		held = append(held, lock)
	}
	return release, nil
}

// Try takes the lock of a volume if nobody has it; else it is durable.ErrLocked.
func (l Locks) Try(volume string) (release func() error, err error) {
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of locks: %w", err)
	}
	lock, err := durable.TryLock(l.file(volume))
	if err != nil {
		return nil, fmt.Errorf("lock volume %q: %w", volume, err)
	}
	return lock.Unlock, nil
}

func (l Locks) file(volume string) string { return filepath.Join(l.Dir, snapshot.Escape(volume)) }
