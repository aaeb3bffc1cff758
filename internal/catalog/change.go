package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets"
)

// owns fails for a snapshot of another host, which can be looked at and no more.
func (c *Catalog) owns(ref snapshot.Ref) error {
	if ref.Host != c.host {
		return fmt.Errorf("it is of host %q, and only that one may change it, not %q", ref.Host, c.host)
	}
	return nil
}

// write stores an object of a snapshot. Nothing else in this package does, save for drafts. What is neither data nor manifest is a mark.
func (c *Catalog) write(ctx context.Context, ref snapshot.Ref, kind snapshot.Kind, r io.Reader) error {
	if err := c.owns(ref); err != nil {
		return err
	}
	if !kind.IsArchive() && kind != snapshot.ManifestKind {
		r = targets.Mark{Reader: r}
	}
	return c.store.Put(ctx, ref.Key(kind), r)
}

// remove takes an object of a snapshot away. Nothing else in this package does.
func (c *Catalog) remove(ctx context.Context, ref snapshot.Ref, kind snapshot.Kind) error {
	if err := c.owns(ref); err != nil {
		return err
	}
	return c.store.Delete(ctx, ref.Key(kind))
}

// PutArchive stores the archive of a snapshot that is not committed yet.
func (c *Catalog) PutArchive(ctx context.Context, ref snapshot.Ref, kind snapshot.Kind, r io.Reader) error {
	if err := c.write(ctx, ref, kind, r); err != nil {
		return fmt.Errorf("store archive %s: %w", ref.ID, err)
	}
	return nil
}

// DraftArchive begins the archive of a snapshot that is not committed yet, where it can be read while it is written. Elsewhere it is an
// error for which errors.Is(err, errors.ErrUnsupported) holds.
func (c *Catalog) DraftArchive(ctx context.Context, ref snapshot.Ref, kind snapshot.Kind) (targets.Draft, error) {
	drafter, ok := c.store.(targets.Drafter)
	err := c.owns(ref)
	switch {
	case err != nil:
	case !ok:
		err = errors.ErrUnsupported
	default:
		var d targets.Draft
		if d, err = drafter.Draft(ctx, ref.Key(kind)); err == nil {
			return d, nil
		}
	}
	return nil, fmt.Errorf("store archive %s: %w", ref.ID, err)
}

// Discard takes away the archive of a snapshot that will not be committed.
func (c *Catalog) Discard(ctx context.Context, ref snapshot.Ref) error {
	for _, kind := range snapshot.ArchiveKinds() {
		if err := c.remove(ctx, ref, kind); err != nil {
			return fmt.Errorf("remove archive %s: %w", ref.ID, err)
		}
	}
	return nil
}

// Commit makes a snapshot exist. It asks the store first whether every archive that the manifest names, its own or not, is there, and whole,
// and has those of others kept for as long as its own.
func (c *Catalog) Commit(ctx context.Context, m snapshot.Manifest) error {
	data, err := m.Encode()
	if err != nil {
		return err
	}
	return c.commit(ctx, m, data)
}

// commit has the manifest's bytes as well.
func (c *Catalog) commit(ctx context.Context, m snapshot.Manifest, data []byte) error {
	err := c.archivesThere(ctx, m)
	if err == nil {
		err = c.extend(ctx, m)
	}
	if err != nil {
		return fmt.Errorf("commit snapshot %s: %w", m.ID, err)
	}
	err = c.write(ctx, m.Ref(), snapshot.ManifestKind, bytes.NewReader(data))
	if errors.Is(err, unix.ENOSPC) { // the manifest is not there for sure, and the archive would take what room there is
		err = errors.Join(err, c.Discard(ctx, m.Ref()))
	}
	if err != nil {
		return fmt.Errorf("commit snapshot %s: %w", m.ID, err)
	}
	return nil
}

func (c *Catalog) archivesThere(ctx context.Context, m snapshot.Manifest) error {
	sizes, err := c.sizes(ctx, m)
	if err != nil {
		return err
	}
	for _, a := range m.Archives {
		switch size, there := sizes[a.ID]; {
		case !there:
			return fmt.Errorf("archive %s is not on the target", a.ID)
		case size != a.Size:
			return fmt.Errorf("archive %s has %d bytes on the target and %d were sent", a.ID, size, a.Size)
		}
	}
	return nil
}

// sizes gives those of a manifest's archives that the store has, in bytes.
func (c *Catalog) sizes(ctx context.Context, m snapshot.Manifest) (map[snapshot.ID]int64, error) {
	named := map[string]snapshot.ID{}
	for _, a := range m.Archives {
		named[archiveKey(m, a)] = a.ID
	}
	sizes := map[snapshot.ID]int64{}
	for object, err := range c.store.List(ctx, snapshot.VolumePrefix(m.Host, m.Volume)) {
		if err != nil {
			return nil, err
		}
		if id, ok := named[object.Key]; ok {
			sizes[id] = object.Size
		}
	}
	return sizes, nil
}

// archiveKey is where an archive lies that a manifest names.
func archiveKey(m snapshot.Manifest, a snapshot.Archive) string {
	return snapshot.Ref{Host: m.Host, Volume: m.Volume, ID: a.ID}.Key(a.Kind())
}

// extend has what a snapshot leans on kept for as long as the snapshot itself.
func (c *Catalog) extend(ctx context.Context, m snapshot.Manifest) error {
	store, ok := c.store.(targets.Extender)
	if !ok {
		return nil
	}
	for _, a := range m.Archives {
		if a.ID == m.ID {
			continue
		}
		if err := store.Extend(ctx, archiveKey(m, a)); err != nil {
			return fmt.Errorf("archive %s, which it leans on: %w", a.ID, err)
		}
	}
	return nil
}

// Kept is an error that is targets.Kept when Remove would be refused by the store, as far as that can say so beforehand.
func (c *Catalog) Kept(ctx context.Context, ref snapshot.Ref) error {
	if k, ok := c.store.(targets.Keeper); ok {
		return k.Kept(ctx, ref.Key(snapshot.ManifestKind))
	}
	return nil
}

// Remove takes a snapshot away: the manifest first, so that it no longer exists whatever happens then; then those of the archives that it
// was read from which no other manifest names, and only when all could be read.
func (c *Catalog) Remove(ctx context.Context, ref snapshot.Ref) error {
	m, _, err := fetch(ctx, c.store, ref)
	if err != nil {
		m = snapshot.Manifest{} // what it leant on is for Sweep to find
	}
	if err := c.remove(ctx, ref, snapshot.ManifestKind); err != nil {
		return fmt.Errorf("remove snapshot %s: %w", ref.ID, err)
	}
	l, err := c.Volume(ctx, ref.Volume)
	if err == nil {
		err = l.Err()
	}
	if err == nil && l.has(ref) {
		return fmt.Errorf("remove snapshot %s: the target has answered that it is gone, and still lists it", ref.ID)
	}
	if err == nil {
		err = c.discardUnneeded(ctx, ref, m, l)
	}
	for _, loose := range l.Loose {
		if err == nil && loose.Ref == ref && !loose.Kind.IsArchive() {
			err = c.remove(ctx, ref, loose.Kind)
		}
	}
	if err != nil {
		return fmt.Errorf("clear away what was left of the removed snapshot %s: %w", ref.ID, err)
	}
	return nil
}

// discardUnneeded takes away what nothing needs any more of the archives that a snapshot was read from, now that it is gone. One of another
// snapshot that the store does not let go is Sweep's to tell of.
func (c *Catalog) discardUnneeded(ctx context.Context, ref snapshot.Ref, m snapshot.Manifest, l Listing) error {
	if len(l.Leaning(ref.ID)) == 0 {
		if err := c.Discard(ctx, ref); err != nil {
			return err
		}
	}
	for _, a := range m.Archives {
		other := snapshot.Ref{Host: ref.Host, Volume: ref.Volume, ID: a.ID}
		if other == ref || l.has(other) || len(l.Leaning(a.ID)) > 0 {
			continue
		}
		err := c.Discard(ctx, other)
		if _, kept := errors.AsType[targets.Kept](err); err != nil && !kept {
			return err
		}
	}
	return nil
}

// looseAge is how old an archive without manifest must be before it goes. A run that is under way elsewhere is younger.
const looseAge = 48 * time.Hour

// Sweep takes away what runs that were cut off have left behind of a volume. It tells how much that was, and what the store does not
// let go. Nothing goes while a manifest of the volume cannot be read.
func (c *Catalog) Sweep(ctx context.Context, volume string, now time.Time) (swept int, kept []error, err error) {
	l, err := c.Volume(ctx, volume)
	if err == nil {
		err = l.Err()
	}
	if err != nil {
		return 0, nil, fmt.Errorf("sweep: %w", err)
	}
	swept, kept, err = c.abandon(ctx, volume)
	if err != nil {
		return swept, kept, fmt.Errorf("sweep: %w", err)
	}
	for _, loose := range l.Loose {
		// Both clocks must agree: the store's, and this host's, which is in the id.
		old := now.Sub(loose.Modified) > looseAge && now.Sub(loose.Ref.ID.Time()) > looseAge
		if !old {
			continue
		}
		err := c.remove(ctx, loose.Ref, loose.Kind)
		var why targets.Kept
		switch {
		case err == nil:
			swept++
		case errors.As(err, &why):
			kept = append(kept, fmt.Errorf("left by a run that was cut off, %s%s: %w", loose.Ref.ID, loose.Kind, why))
		default:
			return swept, kept, fmt.Errorf("sweep %s%s: %w", loose.Ref.ID, loose.Kind, err)
		}
	}
	return swept, kept, c.sweepDrills(ctx, l)
}

// sweepDrills takes away the drills of which newer ones tell more. Those that the store does not let go stay, and do no harm.
func (c *Catalog) sweepDrills(ctx context.Context, l Listing) error {
	for _, s := range l.Snapshots {
		for _, t := range superseded(s.Drills) {
			err := c.remove(ctx, s.Ref(), t.Kind())
			if _, kept := errors.AsType[targets.Kept](err); err != nil && !kept {
				return fmt.Errorf("sweep %s%s: %w", s.ID, t.Kind(), err)
			}
		}
	}
	return nil
}

// abandon gives up uploads of the volume that were cut off, be they ever so young: who has the volume's lock is the only one who puts
// anything there.
func (c *Catalog) abandon(ctx context.Context, volume string) (abandoned int, kept []error, err error) {
	store, ok := c.store.(targets.Abandoner)
	if !ok {
		return 0, nil, nil
	}
	abandoned, err = store.Abandon(ctx, snapshot.VolumePrefix(c.host, volume), func(key string) bool {
		ref, _, err := snapshot.ParseKey(key)
		return err == nil && ref.Host == c.host && ref.Volume == volume
	})
	if why := (targets.Kept{}); errors.As(err, &why) {
		return abandoned, []error{fmt.Errorf("left by uploads that were cut off: %w", why)}, nil
	}
	return abandoned, nil, err
}

// Pin keeps a snapshot whatever the retention policy says. Pinning twice is harmless.
func (c *Catalog) Pin(ctx context.Context, ref snapshot.Ref) error {
	err := c.write(ctx, ref, snapshot.PinKind, strings.NewReader(""))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("pin snapshot %s: %w", ref.ID, err)
	}
	return nil
}

// Unpin leaves a snapshot to the retention policy again.
func (c *Catalog) Unpin(ctx context.Context, ref snapshot.Ref) error {
	if err := c.remove(ctx, ref, snapshot.PinKind); err != nil {
		return fmt.Errorf("unpin snapshot %s: %w", ref.ID, err)
	}
	return nil
}
