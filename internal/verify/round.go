package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/snapshot"
)

// Outcome is what came of one target's copy of a snapshot in a round.
type Outcome struct {
	Target   string
	Snapshot catalog.Snapshot
	Result
}

// Round reads back what a round is to read (Choose) of what has not been since it began. Each outcome is told as it comes. GiveWay is called
// before each and often while it is read, and may block. The error is about what could not be listed, or the end of ctx; all else was read.
func (v Verifier) Round(ctx context.Context, began time.Time, giveWay func(), tell func(Outcome)) error {
	var errs []error
	there := map[string]map[snapshot.Ref]bool{} // by target, of those that could be listed whole
	for _, t := range v.Targets {
		listing, err := t.Catalog.All(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("target %s: %w", t.Name, err))
			continue
		}
		if err := listing.Err(); err != nil {
			errs = append(errs, fmt.Errorf("target %s: %w", t.Name, err))
		} else {
			there[t.Name] = stored(listing.Snapshots)
		}
		if err := v.each(ctx, t, Choose(listing.Snapshots, began), giveWay, tell); err != nil {
			return err
		}
	}
	return errors.Join(append(errs, v.forget(there))...)
}

func (v Verifier) each(ctx context.Context, t backup.Target, chosen []catalog.Snapshot, giveWay func(), tell func(Outcome)) error {
	for _, s := range chosen {
		giveWay()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r := v.Snapshot(ctx, t, s, func(int64, int64) { giveWay() })
		if ctx.Err() != nil && r.Verdict == Unread {
			return context.Cause(ctx)
		}
		tell(Outcome{Target: t.Name, Snapshot: s, Result: r})
	}
	return nil
}

func refs(all []catalog.Snapshot) map[snapshot.Ref]bool {
	found := make(map[snapshot.Ref]bool, len(all))
	for _, s := range all {
		found[s.Ref()] = true
	}
	return found
}

// stored gives the snapshots, and those of which there is still an archive, since others are read from it.
func stored(all []catalog.Snapshot) map[snapshot.Ref]bool {
	found := refs(all)
	for _, s := range all {
		for _, a := range s.Archives {
			found[snapshot.Ref{Host: s.Host, Volume: s.Volume, ID: a.ID}] = true
		}
	}
	return found
}

// forget forgets what was found in snapshots that are gone with all of their archives. One that has come since the listing was made would only be read again.
func (v Verifier) forget(there map[string]map[snapshot.Ref]bool) error {
	hosts := map[string]string{} // of targets
	for _, t := range v.Targets {
		hosts[t.Name] = t.Catalog.Host()
	}
	return v.Ledger.EachProof(func(target string, ref snapshot.Ref, _ snapshot.Proof) bool {
		host, known := hosts[target]
		return !known || there[target] != nil && ref.Host == host && !there[target][ref]
	})
}

// Choose gives what a round reads of a target's snapshots, less what it has read since it began: the newest good one of each volume
// (Newest), and then those that have waited longest, until these are as many bytes again. So all come by in the end, and what a round
// costs is bounded by what one backup of everything takes: twice that, and one snapshot more.
func Choose(all []catalog.Snapshot, began time.Time) (chosen []catalog.Snapshot) {
	newest := Newest(all)
	among := refs(newest)
	var budget int64
	for _, s := range newest {
		budget += s.ReadBytes()
	}
	var others []catalog.Snapshot
	for _, s := range all {
		switch {
		case among[s.Ref()]:
		case s.Proof.At.Before(began):
			others = append(others, s)
		default:
			budget -= s.ReadBytes()
		}
	}
	slices.SortStableFunc(others, func(a, b catalog.Snapshot) int { return waitsSince(a).Compare(waitsSince(b)) })
	for _, s := range newest {
		if s.Proof.At.Before(began) {
			chosen = append(chosen, s)
		}
	}
	for _, s := range others {
		if budget <= 0 {
			break
		}
		budget -= s.ReadBytes()
		chosen = append(chosen, s)
	}
	return chosen
}

func waitsSince(s catalog.Snapshot) time.Time {
	if s.Proof.At.After(s.Taken) {
		return s.Proof.At
	}
	return s.Taken
}

// Newest gives the newest good snapshot of each volume, sorted by host and volume. Where that was found damaged the next one comes with it, and so
// on: both what may have been a mistake, and what is relied on instead.
func Newest(all []catalog.Snapshot) (newest []catalog.Snapshot) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b catalog.Snapshot) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Volume, b.Volume), b.Taken.Compare(a.Taken))
	})
	settled := map[snapshot.Ref]bool{} // volumes
	for _, s := range all {
		volume := snapshot.Ref{Host: s.Host, Volume: s.Volume}
		if !settled[volume] && s.Manifest.Good() {
			newest = append(newest, s)
			settled[volume] = s.Good()
		}
	}
	return newest
}
