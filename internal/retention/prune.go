package retention

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets"
)

// Remover removes one snapshot. One that is not there is no error.
type Remover interface {
	Remove(ctx context.Context, ref snapshot.Ref) error
}

// Pruned is what came of verdicts.
type Pruned struct {
	Removed []snapshot.ID
	Kept    []error // by the place where they lie: each names one, and says why
	Stays   []Stay  // archives, for those that are read from them
}

// Prune removes the snapshots of the volume that the verdicts do not keep, oldest first. One that cannot be removed does not keep the
// others from being; all errors come back together. It stops between two snapshots when ctx ends.
//
// The verdicts must be about all snapshots of the volume, with the same now that they were decided by. They are not trusted:
// where they would take what stays under every policy, nothing is removed.
func Prune(ctx context.Context, from Remover, host, volume string, verdicts []Verdict, now time.Time) (Pruned, error) {
	if err := check(verdicts, now); err != nil {
		return Pruned{}, fmt.Errorf("prune volume %q: nothing removed: %w", volume, err)
	}
	doomed := slices.DeleteFunc(slices.Clone(verdicts), func(v Verdict) bool { return v.Keep })
	slices.SortFunc(doomed, func(a, b Verdict) int { return newestFirst(b.Snapshot, a.Snapshot) })
	pruned := Pruned{Stays: Stays(verdicts)}
	var errs []error
	for _, v := range doomed {
		if ctx.Err() != nil {
			errs = append(errs, fmt.Errorf("prune volume %q: %w", volume, context.Cause(ctx)))
			break
		}
		err := from.Remove(ctx, snapshot.Ref{Host: host, Volume: volume, ID: v.ID})
		var kept targets.Kept
		switch {
		case err == nil:
			pruned.Removed = append(pruned.Removed, v.ID)
		case errors.As(err, &kept):
			pruned.Kept = append(pruned.Kept, fmt.Errorf("snapshot %s: %w", v.ID, kept))
		default:
			errs = append(errs, fmt.Errorf("remove snapshot %s of volume %q: %w", v.ID, volume, err))
		}
	}
	return pruned, errors.Join(errs...)
}

// check knows nothing of policies and of how Decide works, so that a mistake there cannot cost the last good snapshot.
func check(verdicts []Verdict, now time.Time) error {
	ids := map[snapshot.ID]bool{}
	var newest, proven *Verdict
	for i, v := range verdicts {
		switch {
		case ids[v.ID]:
			return fmt.Errorf("two verdicts about snapshot %s", v.ID)
		case v.Pinned && !v.Keep:
			return fmt.Errorf("verdict against snapshot %s, which is pinned", v.ID)
		case v.Damaged && !v.Keep:
			return fmt.Errorf("verdict against snapshot %s, which is damaged", v.ID)
		case v.Failed && !v.Keep:
			return fmt.Errorf("verdict against snapshot %s, which failed its drill", v.ID)
		case inFuture(v.Snapshot, now) && !v.Keep:
			return fmt.Errorf("verdict against snapshot %s, which is dated in the future", v.ID)
		case v.Damaged || v.Failed || inFuture(v.Snapshot, now):
		default:
			if v.Good {
				newest = newer(newest, &verdicts[i])
			}
			if !v.Proven.IsZero() {
				proven = newer(proven, &verdicts[i])
			}
		}
		ids[v.ID] = true
	}
	if newest != nil && !newest.Keep {
		return fmt.Errorf("verdict against snapshot %s, the newest good one", newest.ID)
	}
	if proven != nil && !proven.Keep {
		return fmt.Errorf("verdict against snapshot %s, the last that is proven to be restorable", proven.ID)
	}
	return nil
}

// newer gives that of two which is about the newer snapshot; nil is none.
func newer(a, b *Verdict) *Verdict {
	if a == nil || newestFirst(b.Snapshot, a.Snapshot) < 0 {
		return b
	}
	return a
}
