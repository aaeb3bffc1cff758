package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/backupd/backupd/internal/seal"
	"github.com/backupd/backupd/internal/snapshot"
)

// WithRecipients gives the same catalog, with those to whom is encrypted what it is told of encrypted snapshots.
func (c *Catalog) WithRecipients(to seal.Recipients) *Catalog {
	with := *c
	with.to = to
	return &with
}

// Proven is the newest proof that the snapshot is restorable; the zero Trial is none.
func (s Snapshot) Proven() (newest snapshot.Trial) {
	for _, t := range s.Drills {
		if t.Proven {
			newest = t
		}
	}
	return newest
}

// Drilled is the last time that the snapshot was tried out; the zero Trial is never.
func (s Snapshot) Drilled() (last snapshot.Trial) {
	if n := len(s.Drills); n > 0 {
		last = s.Drills[n-1]
	}
	return last
}

// DrillFailed tells whether the snapshot was not found to be restorable when that was last tried.
func (s Snapshot) DrillFailed() bool { return len(s.Drills) > 0 && !s.Drilled().Proven }

// Lacks gives the newest proof of another copy of the snapshot, when this one has none that is as new and it is of this one too, as they are
// of the same bytes; the zero Trial is none. One that failed alone says nothing good about its own bytes.
func (s Snapshot) Lacks(other Snapshot) snapshot.Trial {
	proof := other.Proven()
	if !proof.At.After(s.Proven().At) || s.FailedAlone(other) {
		return snapshot.Trial{}
	}
	return proof
}

// FailedAlone tells whether the last drill of this copy of the snapshot failed, and is not told of another copy: so it is this copy that did.
func (s Snapshot) FailedAlone(other Snapshot) bool {
	return s.DrillFailed() && !slices.Contains(other.Drills, s.Drilled())
}

// CopyDrill stores what came of one drill in another store that has the snapshot, as it is stored in this one.
func (c *Catalog) CopyDrill(ctx context.Context, to *Catalog, ref snapshot.Ref, t snapshot.Trial) error {
	if err := c.copyDrill(ctx, to, ref, t); err != nil {
		return fmt.Errorf("copy the drill of snapshot %s: %w", ref.ID, err)
	}
	return nil
}

// PutDrill stores what came of trying out a snapshot, which must exist, beside it. What is told of an encrypted one is encrypted too, and
// left out where there is nobody to encrypt it to; verdict and times stay.
func (c *Catalog) PutDrill(ctx context.Context, d snapshot.Drill) error {
	m, _, err := fetch(ctx, c.store, d.Ref())
	if err == nil && m.Encrypted() {
		d, err = c.sealed(d)
	}
	if err == nil {
		err = c.putDrill(ctx, d)
	}
	if err != nil {
		return fmt.Errorf("store the drill of snapshot %s: %w", d.ID, err)
	}
	return nil
}

// putDrill stores it as it is.
func (c *Catalog) putDrill(ctx context.Context, d snapshot.Drill) error {
	data, err := d.Encode()
	if err != nil {
		return err
	}
	if _, err := snapshot.DecodeDrill(data, d.Ref(), d.Trial()); err != nil {
		return fmt.Errorf("nobody could read it: %w", err)
	}
	return c.write(ctx, d.Ref(), d.Trial().Kind(), bytes.NewReader(data))
}

func (c *Catalog) sealed(d snapshot.Drill) (snapshot.Drill, error) {
	var sealed []byte
	if !c.to.None() {
		words, err := json.Marshal(d.Words())
		if err == nil {
			sealed, err = c.to.Seal(words)
		}
		if err != nil {
			return snapshot.Drill{}, fmt.Errorf("encrypt it: %w", err)
		}
	}
	d = d.WithWords(snapshot.Words{})
	d.Sealed = sealed
	return d, nil
}

// Drill reads what came of one time that a snapshot was tried out. Without a key to what is encrypted of it, which is seal.ErrLocked, it
// gives the rest.
func (c *Catalog) Drill(ctx context.Context, ref snapshot.Ref, t snapshot.Trial) (snapshot.Drill, error) {
	data, err := c.drillData(ctx, ref, t)
	if err != nil {
		return snapshot.Drill{}, err
	}
	d, err := snapshot.DecodeDrill(data, ref, t)
	if err != nil || len(d.Sealed) == 0 {
		return d, err
	}
	var words snapshot.Words
	plain, err := seal.Unseal(d.Sealed, c.keys)
	if err == nil {
		err = json.Unmarshal(plain, &words)
	}
	if err != nil {
		return d, fmt.Errorf("what the drill of snapshot %s tells: %w", ref.ID, err)
	}
	d.Sealed = nil
	return d.WithWords(words), nil
}

// drillData reads it as it is stored.
func (c *Catalog) drillData(ctx context.Context, ref snapshot.Ref, t snapshot.Trial) ([]byte, error) {
	r, err := c.store.Get(ctx, ref.Key(t.Kind()), 0, snapshot.MaxDrill)
	if err != nil {
		return nil, fmt.Errorf("read the drill of snapshot %s: %w", ref.ID, err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("read the drill of snapshot %s: %w", ref.ID, err)
	}
	return data, nil
}

// superseded gives the drills that tell nothing any more: all but the newest proof and the newest failure.
func superseded(drills []snapshot.Trial) (old []snapshot.Trial) {
	newest := map[bool]bool{} // by verdict: one has come by
	for i := len(drills) - 1; i >= 0; i-- {
		if newest[drills[i].Proven] {
			old = append(old, drills[i])
		}
		newest[drills[i].Proven] = true
	}
	return old
}
