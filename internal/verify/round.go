package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
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
		all, refs, err := candidates(ctx, t, catalog.Query{})
		if err != nil {
			errs = append(errs, fmt.Errorf("target %s: %w", t.Name, err))
		} else {
			there[t.Name] = refs
		}
		failed, ended := v.each(ctx, t, Choose(all, began), giveWay, tell)
		if ended != nil {
			return ended
		}
		errs = append(errs, failed)
	}
	return errors.Join(append(errs, v.forget(there))...)
}

// candidates lists a target, as far as it can be, and tells also of which other snapshots there is still an archive, since some are read from it.
func candidates(ctx context.Context, t backup.Target, q catalog.Query) (all []Candidate, there map[snapshot.Ref]bool, err error) {
	there = map[snapshot.Ref]bool{}
	var errs []error
	for l, err := range t.Catalog.Each(ctx, q) {
		all = append(all, Candidates(l.Snapshots)...)
		for _, s := range l.Snapshots {
			there[s.Ref()] = true
			for _, a := range s.Archives {
				there[snapshot.Ref{Host: s.Host, Volume: s.Volume, ID: a.ID}] = true
			}
		}
		errs = append(errs, err, l.Err())
	}
	return all, there, errors.Join(errs...)
}

// each reads what was chosen. What could not be looked up has failed; the round ends with ctx.
func (v Verifier) each(ctx context.Context, t backup.Target, chosen []Candidate, giveWay func(), tell func(Outcome)) (failed, ended error) {
	var errs []error
	for _, c := range chosen {
		giveWay()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		s, err := t.Catalog.Snapshot(ctx, c.Ref)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was removed since it was listed
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("target %s: %w", t.Name, err))
			continue
		}
		r := v.Snapshot(ctx, t, s, func(int64, int64) { giveWay() })
		if ctx.Err() != nil && r.Verdict == Unread {
			return nil, context.Cause(ctx)
		}
		r.Unrecorded = errors.Join(r.Unrecorded, v.alike(t, c, r))
		tell(Outcome{Target: t.Name, Snapshot: s, Result: r})
	}
	return errors.Join(errs...), nil
}

// alike has it remembered of those that are read from the very same, too.
func (v Verifier) alike(t backup.Target, c Candidate, r Result) error {
	if r.Verdict != Sound && r.Verdict != Damaged {
		return nil
	}
	var errs []error
	for _, id := range c.Alike {
		_, err := v.Ledger.Prove(t.Name, snapshot.Ref{Host: c.Ref.Host, Volume: c.Ref.Volume, ID: id}, r.found)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
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

// Forget forgets what was found in what a target has no more of a volume, as the same may come there anew.
func (v Verifier) Forget(ctx context.Context, t backup.Target, volume string) error {
	_, there, err := candidates(ctx, t, catalog.Query{Volumes: []string{volume}})
	if err != nil {
		return err
	}
	return v.Ledger.EachProof(func(target string, ref snapshot.Ref, _ snapshot.Proof) bool {
		return target == t.Name && ref.Host == t.Catalog.Host() && ref.Volume == volume && !there[ref]
	})
}

// Candidate is of a snapshot what a round has to know before it reads it: there may be more of them than fit into memory whole.
type Candidate struct {
	Ref    snapshot.Ref
	Waits  time.Time // since when it was not read back
	Read   time.Time // when it last was
	Bytes  int64     // to be read
	Newest bool      // it is among what is relied on

	Alike []snapshot.ID // others of its volume that are read from the very same: what is found in it is found in them
}

// Candidates are the snapshots of a volume, those that are relied on (Newest) first. Of those for which nothing had changed from one to the
// next there is one.
func Candidates(volume []catalog.Snapshot) (all []Candidate) {
	newest := map[snapshot.Ref]bool{}
	at := map[snapshot.ID]int{} // in all, by the archive with the index
	add := func(s catalog.Snapshot, newest bool) {
		index := s.Index().ID
		if i, there := at[index]; there {
			all[i].Alike = append(all[i].Alike, s.ID)
			return
		}
		at[index] = len(all)
		all = append(all, candidate(s, newest))
	}
	for _, s := range Newest(volume) {
		add(s, true)
		newest[s.Ref()] = true
	}
	for _, s := range volume {
		if !newest[s.Ref()] {
			add(s, false)
		}
	}
	return all
}

func candidate(s catalog.Snapshot, newest bool) Candidate {
	waits := s.Taken
	if s.Proof.At.After(waits) {
		waits = s.Proof.At
	}
	return Candidate{Ref: s.Ref(), Waits: waits, Read: s.Proof.At, Bytes: s.ReadBytes(), Newest: newest}
}

// Choose gives what a round reads of a target's snapshots, less what it has read since it began: the newest good one of each volume
// (Newest), and then those that have waited longest, until these are as many bytes again. So all come by in the end, and what a round
// costs is bounded by what one backup of everything takes: twice that, and one snapshot more.
func Choose(all []Candidate, began time.Time) (chosen []Candidate) {
	var budget int64
	var others []Candidate
	for _, c := range all {
		unread := c.Read.Before(began)
		switch {
		case c.Newest:
			budget += c.Bytes
			if unread {
				chosen = append(chosen, c)
			}
		case unread:
			others = append(others, c)
		default:
			budget -= c.Bytes
		}
	}
	slices.SortStableFunc(others, func(a, b Candidate) int { return a.Waits.Compare(b.Waits) })
	for _, c := range others {
		if budget <= 0 {
			break
		}
		budget -= c.Bytes
		chosen = append(chosen, c)
	}
	return chosen
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
