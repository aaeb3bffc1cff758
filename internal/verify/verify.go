// Package verify reads snapshots back from the targets that have them, checks all of them, and has it remembered what was found: what is
// damaged does not count as good from then on, for retention and for whoever wants the latest.
//
// How an archive is checked is package archive's to know. When it is done by itself, and what is told, is for the daemon.
package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/seal"
	"github.com/backupd/backupd/internal/snapshot"
)

// Ledger remembers what was found.
type Ledger interface {
	Prove(target string, ref snapshot.Ref, p snapshot.Proof) (aside, err error)
	EachProof(do func(target string, ref snapshot.Ref, p snapshot.Proof) (forget bool)) error
}

// Verifier verifies. It takes no lock, so that backups need not wait: what it reads never changes, and what is removed meanwhile is told from
// what is damaged, since the manifest goes first.
type Verifier struct {
	Targets []backup.Target // all that there are
	Ledger  Ledger
	HasKey  bool // what is encrypted can be opened here; else the bytes that are stored are compared with their digests
	Now     func() time.Time
}

// Verdict is what a copy of a snapshot turned out to be.
type Verdict string

// The verdicts.
const (
	Sound   Verdict = "sound"
	Damaged Verdict = "damaged"
	Unread  Verdict = "unread" // it could not be looked at, so that nothing bad is known of it
	Gone    Verdict = "gone"   // it was removed meanwhile
)

// Result is what came of reading back one target's copy of a snapshot.
type Result struct {
	Verdict Verdict
	Bytes   int64 // of tar that was read; of what is stored, when it is locked
	Damages []archive.Damage
	Locked  error // why it was not decrypted, so that only the bytes that are stored were checked
	Err     error // what is wrong besides damages, or why it could not be looked at

	Spoiled []snapshot.ID // archives of other snapshots that damage lies in
	Hurts   []snapshot.ID // the others that are read from an archive that damage lies in: they count for nothing until they prove to be sound themselves

	found      snapshot.Proof // what is remembered
	Aside      error          // what was remembered of the volume could not be read, and where it is now
	Unrecorded error          // why the verdict could not be remembered
}

// Snapshot reads back one target's copy of a snapshot, and has it remembered what it is. Progress is called with bytes, often, and may block.
func (v Verifier) Snapshot(ctx context.Context, t backup.Target, s catalog.Snapshot, progress func(done, expected int64)) Result {
	began := v.Now()
	r := v.read(ctx, t.Catalog, s, progress)
	_, unread := errors.AsType[*archive.SourceError](r.Err)
	switch {
	case r.Err == nil && len(r.Damages) == 0:
		r.Verdict = Sound
	case len(r.Damages) == 0 && (ctx.Err() != nil || unread || errors.Is(r.Err, seal.ErrLocked)):
		r.Verdict = Unread
		return r
	default:
		r.Verdict = Damaged
	}
	if r.Verdict == Damaged {
		there, err := t.Catalog.There(ctx, s.Ref())
		switch {
		case err != nil:
			r.Verdict, r.Err = Unread, errors.Join(r.Err, err)
			return r
		case !there:
			r.Verdict = Gone
			return r
		}
	}
	r.found = r.proof(began)
	r.found.In = r.damaged(s.Manifest)
	r.Aside, r.Unrecorded = v.Ledger.Prove(t.Name, s.Ref(), r.found)
	if r.Verdict == Damaged {
		r.Unrecorded = errors.Join(r.Unrecorded, v.spread(ctx, t, s.Manifest, &r))
	}
	return r
}

// spread has it remembered, too, which archives of other snapshots are damaged, and finds out which snapshots that hurts.
func (v Verifier) spread(ctx context.Context, t backup.Target, m snapshot.Manifest, r *Result) error {
	var errs []error
	for _, id := range r.found.In {
		if id == m.ID {
			continue
		}
		r.Spoiled = append(r.Spoiled, id)
		_, err := v.Ledger.Prove(t.Name, snapshot.Ref{Host: m.Host, Volume: m.Volume, ID: id}, r.found)
		errs = append(errs, err)
	}
	l, err := t.Catalog.List(ctx, catalog.Query{Host: m.Host, Volumes: []string{m.Volume}})
	for _, other := range l.Snapshots {
		if other.ID != m.ID && slices.ContainsFunc(r.found.In, other.Needs) {
			r.Hurts = append(r.Hurts, other.ID)
		}
	}
	return errors.Join(append(errs, err)...)
}

// damaged gives the archives of a manifest that damage lies in.
func (r Result) damaged(m snapshot.Manifest) (ids []snapshot.ID) {
	in := map[snapshot.ID]bool{}
	for _, d := range r.Damages {
		in[cmp.Or(snapshot.ID(d.Archive), m.Index().ID)] = true
	}
	if lean, ok := errors.AsType[*archive.LeanError](r.Err); ok {
		in[snapshot.ID(lean.Name)] = true
	} else if errors.Is(r.Err, archive.ErrDamaged) && len(r.Damages) == 0 {
		in[m.Index().ID] = true
	}
	for _, a := range m.Archives { // whatever else an archive calls what it leans on
		if in[a.ID] {
			ids = append(ids, a.ID)
		}
	}
	return ids
}

func (v Verifier) read(ctx context.Context, from *catalog.Catalog, s catalog.Snapshot, progress func(done, expected int64)) (r Result) {
	r.Damages, r.Err = readBack(ctx, from, s.Manifest, func(done int64) {
		r.Bytes = done
		progress(done, s.Index().Plain)
	})
	if errors.Is(r.Err, seal.ErrLocked) && !v.HasKey {
		r.Locked = r.Err
		r.Err = from.VerifyStored(ctx, s.Manifest, func(done int64) {
			r.Bytes = done
			progress(done, s.ReadBytes())
		})
	}
	return r
}

func readBack(ctx context.Context, from *catalog.Catalog, m snapshot.Manifest, progress func(done int64)) ([]archive.Damage, error) {
	r, err := from.Open(ctx, m)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.Verify(ctx, progress)
}

// proof is what is remembered.
func (r Result) proof(at time.Time) snapshot.Proof {
	p := snapshot.Proof{At: at, Keyless: r.Locked != nil}
	if r.Verdict != Damaged {
		return p
	}
	var first error
	for _, d := range r.Damages {
		if first == nil {
			first = fmt.Errorf("at byte %d, %d long: %w", d.Offset, d.Length, d.Err)
		}
		p.Hits += d.Entries
		p.Paths = append(p.Paths, d.Paths...)
	}
	if first == nil {
		first = r.Err
	}
	p.Damaged = first.Error()
	if more := len(r.Damages) - 1; more > 0 {
		p.Damaged += fmt.Sprintf(" (and %d more places)", more)
	}
	return p
}

// Why is what is wrong in a line, and what that hits.
func (r Result) Why() (paths []string, hits int64, why error) {
	if r.Verdict != Damaged {
		return nil, 0, r.Err
	}
	p := r.proof(time.Time{})
	return p.Paths, p.Hits, errors.New(p.Damaged)
}
