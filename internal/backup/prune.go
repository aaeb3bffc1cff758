package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/snapshot"
)

// Pruner applies retention to one volume on one target. Who calls Prune holds the lock of the volume.
type Pruner struct {
	Owner string // of the state directory: snapshots of another one under the same host name are not ours to judge
	Now   func() time.Time
	Zone  *time.Location // that days, weeks, months and years begin in
}

// Verdicts says of each snapshot whether it stays and why, newest first. It fails where removing anything would be a gamble: a
// manifest that cannot be read, or snapshots of another owner.
func (p Pruner) Verdicts(ctx context.Context, t Target, volume string, keep retention.Policy) ([]retention.Verdict, error) {
	listing, err := t.Catalog.Volume(ctx, volume)
	if err == nil {
		err = p.safe(listing)
	}
	if err != nil {
		return nil, fmt.Errorf("nothing of volume %q is removed: %w", volume, err)
	}
	return p.decide(keep, listing.Snapshots), nil
}

func (p Pruner) decide(keep retention.Policy, all []catalog.Snapshot) []retention.Verdict {
	snapshots := make([]retention.Snapshot, len(all))
	for i, s := range all {
		snapshots[i] = retention.Snapshot{
			ID: s.ID, Taken: s.Taken, Good: s.Good(), Pinned: s.Pinned,
			Damaged: s.Proof.Damaged != "", Failed: s.DrillFailed(), Proven: s.Proven().At,
		}
		for _, a := range s.Archives {
			snapshots[i].Archives = append(snapshots[i].Archives, a.ID)
		}
	}
	return retention.Decide(keep, snapshots, p.Now(), p.Zone)
}

// Worth gives those of the snapshots, which a target does not have, that would stay there, newest first. What retention would take away
// at once is not worth being sent.
func (p Pruner) Worth(missing, there []catalog.Snapshot, keep retention.Policy) []catalog.Snapshot {
	byID := map[snapshot.ID]catalog.Snapshot{}
	for _, s := range missing {
		byID[s.ID] = s
	}
	var worth []catalog.Snapshot
	for _, v := range p.decide(keep, slices.Concat(missing, there)) {
		if s, ok := byID[v.ID]; ok && v.Keep {
			worth = append(worth, s)
		}
	}
	return worth
}

func (p Pruner) safe(l catalog.Listing) error {
	if err := l.Err(); err != nil {
		return err
	}
	for _, s := range l.Snapshots {
		if s.Owner != p.Owner {
			return fmt.Errorf("snapshot %s was made by another backupd (owner %q, this one is %q) under the same host name %q: "+
				"give each host a BACKUPD_HOST of its own; or, if this host has lost its state directory, write %q to the file \"owner\" in it",
				s.ID, s.Owner, p.Owner, s.Host, s.Owner)
		}
	}
	return nil
}

// Prune takes away what no rule keeps, and what runs that were cut off have left behind. It tells which snapshots went, and
// which things the target keeps all the same.
func (p Pruner) Prune(ctx context.Context, t Target, volume string, keep retention.Policy) (retention.Pruned, error) {
	verdicts, err := p.Verdicts(ctx, t, volume, keep)
	if err != nil {
		return retention.Pruned{}, err
	}
	pruned, err := retention.Prune(ctx, t.Catalog, t.Catalog.Host(), volume, verdicts, p.Now())
	_, kept, sweepErr := t.Catalog.Sweep(ctx, volume, p.Now())
	pruned.Kept = append(pruned.Kept, kept...)
	return pruned, errors.Join(err, sweepErr)
}
