// Package gaps finds the snapshots that a target has missed, and fills it from another one that has them. No volume is read for that.
//
// What a target would keep is its retention's to say (backup.Pruner), and how a snapshot is copied package catalog's. When gaps are looked
// for is for the daemon, or whoever asks.
package gaps

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/snapshot"
)

// Filler fills gaps. All fields are needed but the last.
type Filler struct {
	Targets  []backup.Target // all that there are
	Pruner   backup.Pruner
	Lock     func(ctx context.Context, volumes ...string) (release func() error, err error) // see catalog.Locks
	Log      *slog.Logger
	Progress func(volume string, done, expected int64) // bytes
}

// Limits narrow down what is filled. The zero value is all that retention would keep.
type Limits struct {
	From     []string             // targets to copy from; none is every one
	To       []string             // targets to fill, of those that the volume goes to; none is each of these
	Since    map[string]time.Time // by target to fill: only snapshots of this moment or later; a target without is not limited
	Most     int                  // copies to be tried; 0 is any number
	AnyOwner bool                 // also what another state directory has made under the name of this host
	DryRun   bool                 // only say what would be done
}

// Copy is a snapshot that a target has missed, and what came of that.
type Copy struct {
	Volume   string
	Target   string           // that has missed it
	Snapshot catalog.Snapshot // zero where Err is about the target as a whole
	Source   string           // that it was copied from, or would be; "" when none of those that have it could give it
	Spoiled  []error          // why others could not
	Err      error            // nil: it is there, or would be
}

// Fill fills the gaps of a volume, the newest first. Each copy is made under the volume's lock, which is let go in between; what is
// missing, and worth it, is found out anew each time. A target that did not take one is not tried again. In the end targets have the same
// proofs of what they have in common.
func (f Filler) Fill(ctx context.Context, v plan.Volume, l Limits) ([]Copy, error) {
	var copies []Copy
	for {
		more, err := f.next(ctx, v, l, &copies)
		if err != nil || !more {
			return copies, err
		}
	}
}

// next makes one copy.
func (f Filler) next(ctx context.Context, v plan.Volume, l Limits, copies *[]Copy) (more bool, err error) {
	release, err := f.Lock(ctx, v.Name)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, release()) }()
	found, all, problems := f.find(ctx, v, l)
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	for _, p := range problems {
		if !slices.ContainsFunc(*copies, func(c Copy) bool { return c.general() && c.Target == p.Target }) {
			*copies = append(*copies, p)
		}
	}
	if l.DryRun {
		for _, g := range found {
			*copies = append(*copies, Copy{Volume: v.Name, Target: g.to.Name, Snapshot: g.snapshot, Source: g.from[0].Name})
		}
		return false, nil
	}
	found = slices.DeleteFunc(found, func(g gap) bool {
		return slices.ContainsFunc(*copies, func(c Copy) bool { return c.failedAt(g) })
	})
	if len(found) == 0 {
		*copies = append(*copies, f.proofs(ctx, v, l, all)...)
		return false, context.Cause(ctx)
	}
	if l.Most > 0 && tries(*copies) >= l.Most {
		return false, nil
	}
	*copies = append(*copies, f.fill(ctx, found[0]))
	return ctx.Err() == nil, context.Cause(ctx)
}

// failedAt tells whether a gap is not worth a try after this: the target failed, or all that this snapshot could come from.
func (c Copy) failedAt(g gap) bool {
	if c.general() || c.Err == nil || c.Target != g.to.Name {
		return false
	}
	return c.Source != "" || c.Snapshot.ID == g.snapshot.ID
}

// general tells whether it is about a target as a whole.
func (c Copy) general() bool { return c.Snapshot.ID == "" }

// fill has the sources tried one after the other, for as long as it is they that are the reason.
func (f Filler) fill(ctx context.Context, g gap) Copy {
	c := Copy{Volume: g.snapshot.Volume, Target: g.to.Name, Snapshot: g.snapshot}
	for _, from := range g.from {
		c.Err = from.Catalog.Copy(ctx, g.to.Catalog, g.snapshot, func(done int64) {
			if f.Progress != nil {
				f.Progress(c.Volume, done, g.snapshot.ReadBytes())
			}
		})
		if !errors.Is(c.Err, catalog.ErrSource) {
			c.Source = from.Name
			break
		}
		c.Spoiled = append(c.Spoiled, fmt.Errorf("on target %s: %w", from.Name, c.Err))
		f.Log.Warn("a snapshot cannot be copied from a target", "volume", c.Volume, "snapshot", g.snapshot.ID, "target", from.Name, "err", c.Err)
	}
	if c.Err == nil {
		f.Log.Info("snapshot copied", "volume", c.Volume, "snapshot", g.snapshot.ID, "source", c.Source, "target", c.Target, "bytes", g.snapshot.StoredBytes())
	}
	return c
}

// gap is a snapshot that a target has missed and would keep.
type gap struct {
	snapshot catalog.Snapshot
	to       backup.Target
	from     []backup.Target // that have it, at least one
}

// find gives the gaps of a volume, the newest first, what it has found them in, by target, and what keeps it from knowing all.
func (f Filler) find(ctx context.Context, v plan.Volume, l Limits) (found []gap, all map[string]catalog.Listing, problems []Copy) {
	all = map[string]catalog.Listing{}
	for _, t := range f.Targets {
		if !l.asks(v, t.Name) {
			continue
		}
		listing, err := t.Catalog.Volume(ctx, v.Name)
		if err != nil {
			problems = append(problems, Copy{Volume: v.Name, Target: t.Name, Err: err})
			continue
		}
		all[t.Name] = listing
		if err := listing.Err(); err != nil { // these are neither copied nor replaced
			problems = append(problems, Copy{Volume: v.Name, Target: t.Name, Err: err})
		}
	}
	for _, to := range f.Targets {
		there, listed := all[to.Name]
		if !listed || !l.fills(v, to.Name) {
			continue
		}
		missing, from := f.missing(all, there, l, l.Since[to.Name])
		for _, s := range f.Pruner.Worth(missing, there.Snapshots, v.Retention.Value) {
			found = append(found, gap{s, to, from[s.ID]})
		}
	}
	slices.SortStableFunc(found, func(a, b gap) int { return b.snapshot.Taken.Compare(a.snapshot.Taken) })
	return found, all, problems
}

// missing gives what others have and one does not, and which of them have it.
func (f Filler) missing(all map[string]catalog.Listing, there catalog.Listing, l Limits, since time.Time) ([]catalog.Snapshot, map[snapshot.ID][]backup.Target) {
	has := map[snapshot.ID]bool{}
	for _, s := range there.Snapshots {
		has[s.ID] = true
	}
	for _, u := range there.Unreadable {
		has[u.Ref.ID] = true
	}
	var missing []catalog.Snapshot
	from := map[snapshot.ID][]backup.Target{}
	for _, t := range f.Targets {
		if !named(l.From, t.Name) {
			continue
		}
		for _, s := range all[t.Name].Snapshots {
			bad := s.Proof.Damaged != "" || s.DrillFailed()
			if has[s.ID] || s.Taken.Before(since) || s.Owner != f.Pruner.Owner && !l.AnyOwner || bad {
				continue
			}
			if from[s.ID] == nil {
				missing = append(missing, s)
			}
			from[s.ID] = append(from[s.ID], t)
		}
	}
	return missing, from
}

// asks tells whether it matters what a target has.
func (l Limits) asks(v plan.Volume, target string) bool {
	return named(l.From, target) || l.fills(v, target)
}

func (l Limits) fills(v plan.Volume, target string) bool {
	return slices.Contains(v.Targets.Value, target) && named(l.To, target)
}

// named tells whether a target is meant by a list of names, which without any means all.
func named(names []string, target string) bool {
	return len(names) == 0 || slices.Contains(names, target)
}

// Left gives what is still missed of what was, by target and since when, after a go at filling all of that. One that had as many tries as
// it may have is not known to have come to its end.
func Left(missed map[string]time.Time, copies []Copy, l Limits) map[string]time.Time {
	left := maps.Clone(missed)
	if l.Most > 0 && tries(copies) >= l.Most || slices.ContainsFunc(copies, Copy.general) {
		return left
	}
	maps.DeleteFunc(left, func(target string, _ time.Time) bool {
		return !slices.ContainsFunc(copies, func(c Copy) bool { return c.Target == target && c.Err != nil })
	})
	return left
}

// tries is how many copies were tried.
func tries(copies []Copy) int { return len(slices.DeleteFunc(slices.Clone(copies), Copy.general)) }
