// Package catalog keeps the snapshots of one host in one store: it commits them, lists them, pins them and takes them away. Of
// other hosts that share the store it can list snapshots, and no more.
//
// Its order of writes and removals is what makes "a manifest means a whole archive" true. It trusts nothing that lies in the
// store. A Catalog takes no locks itself: who writes or removes holds those of the volume (Locks), often over more than one call.
package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/seal"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets"
)

// Catalog is the snapshots of a host in a store.
type Catalog struct {
	store targets.Store
	cache *Cache // nil for none
	host  string
	keys  *seal.Keys // to encrypted archives; nil for none
	to    seal.Recipients
	found Found

	opened func(m snapshot.Manifest) // nil for nobody to tell
	parts  *archive.Cache            // of archives that are opened; nil for one of each
}

// New gives the catalog of a host. The cache, if not nil, is the catalog's own: it belongs to this one store.
func New(store targets.Store, cache *Cache, host string) *Catalog {
	return &Catalog{store: store, cache: cache, host: host}
}

// WithKeys gives the same catalog, with the keys to encrypted archives.
func (c *Catalog) WithKeys(keys *seal.Keys) *Catalog {
	with := *c
	with.keys = keys
	return &with
}

// WithOpened gives the same catalog, which tells of each encrypted snapshot that a key has opened.
func (c *Catalog) WithOpened(opened func(m snapshot.Manifest)) *Catalog {
	with := *c
	with.opened = opened
	return &with
}

// WithParts gives the same catalog, whose archives are read through a cache that they share.
func (c *Catalog) WithParts(parts *archive.Cache) *Catalog {
	with := *c
	with.parts = parts
	return &with
}

// Found gives what was found when snapshots of a volume were last read back from the store. What was found in an archive of which the snapshot
// is gone is among that, under the id of that one. An error says that it cannot be known which of
// them are damaged.
type Found func(host, volume string) (map[snapshot.ID]snapshot.Proof, error)

// WithFound gives the same catalog, whose listings tell what was found.
func (c *Catalog) WithFound(found Found) *Catalog {
	with := *c
	with.found = found
	return &with
}

// Host is the host whose snapshots these are.
func (c *Catalog) Host() string { return c.host }

// Snapshot is one that exists: its manifest could be read.
type Snapshot struct {
	snapshot.Manifest
	Pinned bool
	Proof  snapshot.Proof   // what was found when it, or what it leans on, was last read back
	Drills []snapshot.Trial // the times that it was tried out, oldest first

	// Spoiled tells that an archive that it is read from is not there, or is known to be damaged somewhere. In that case it may be sound itself.
	Spoiled bool
}

// Good tells whether the snapshot counts, for retention and as "latest": its manifest says so, it is not known to be damaged, and did not
// fail when it was last tried out.
func (s Snapshot) Good() bool { return s.Proof.Damaged == "" && !s.DrillFailed() && s.Manifest.Good() }

// MayBeLeantOn tells whether a new snapshot may lean on what this one is read from.
func (s Snapshot) MayBeLeantOn() bool { return s.Good() && !s.Spoiled }

// Unreadable is a manifest that is there and cannot be read or believed.
type Unreadable struct {
	Ref snapshot.Ref
	Err error
}

// Loose is an archive, a pin or a drill without a manifest: of a run that is under way, or of one that was cut off. An archive of which the
// snapshot is gone, and that others lean on, is none; where only some of a volume's snapshots are asked for, that is known of these alone.
type Loose struct {
	Ref      snapshot.Ref
	Kind     snapshot.Kind
	Modified time.Time
}

// Listing is what lies in a store, oldest first. What backupd has not written is not in it.
type Listing struct {
	Snapshots  []Snapshot
	Unreadable []Unreadable
	Loose      []Loose
	Unknown    []error // of which volumes it cannot be known what is damaged, and why
}

// Err tells of all manifests that could not be read, and of what else is not known. Who removes something must not go on when it is not
// nil, since what an unreadable manifest needs is unknown, as is what still opens.
func (l Listing) Err() error {
	errs := slices.Clone(l.Unknown)
	for _, u := range l.Unreadable {
		errs = append(errs, fmt.Errorf("volume %q: %w", u.Ref.Volume, u.Err))
	}
	return errors.Join(errs...)
}

func (l Listing) has(ref snapshot.Ref) bool {
	return slices.ContainsFunc(l.Snapshots, func(s Snapshot) bool { return s.Ref() == ref })
}

// Leaning gives the snapshots, other than the one that wrote it, that an archive is read for, oldest first.
func (l Listing) Leaning(on snapshot.ID) (ids []snapshot.ID) {
	for _, s := range l.Snapshots {
		if s.ID != on && s.Needs(on) {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// needs tells whether an object is an archive that a snapshot of the volume is read from.
func (l Listing) needs(o Loose) bool {
	return o.Kind.IsArchive() && slices.ContainsFunc(l.Snapshots, func(s Snapshot) bool { return s.Volume == o.Ref.Volume && s.Needs(o.Ref.ID) })
}

func (l *Listing) add(more Listing) {
	l.Snapshots = append(l.Snapshots, more.Snapshots...)
	l.Unreadable = append(l.Unreadable, more.Unreadable...)
	l.Loose = append(l.Loose, more.Loose...)
	l.Unknown = append(l.Unknown, more.Unknown...)
}

// sort puts volumes that came in the order of their keys into that of their names.
func (l *Listing) sort() {
	slices.SortStableFunc(l.Snapshots, func(a, b Snapshot) int { return byVolumeAndTime(a.Ref(), b.Ref()) })
	slices.SortStableFunc(l.Unreadable, func(a, b Unreadable) int { return byVolumeAndTime(a.Ref, b.Ref) })
	slices.SortStableFunc(l.Loose, func(a, b Loose) int { return byVolumeAndTime(a.Ref, b.Ref) })
}

func byVolumeAndTime(a, b snapshot.Ref) int {
	return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Volume, b.Volume), strings.Compare(string(a.ID), string(b.ID)))
}

// volumes are those that have snapshots, readable or not.
func (l Listing) volumes() map[string]bool {
	volumes := make(map[string]bool)
	for _, s := range l.Snapshots {
		volumes[s.Volume] = true
	}
	for _, u := range l.Unreadable {
		volumes[u.Ref.Volume] = true
	}
	return volumes
}

// Volume lists the snapshots of a volume of the host.
func (c *Catalog) Volume(ctx context.Context, volume string) (Listing, error) {
	return c.List(ctx, Query{Volumes: []string{volume}})
}

// All lists the snapshots of every volume of the host.
func (c *Catalog) All(ctx context.Context) (Listing, error) { return c.List(ctx, Query{}) }

// There tells whether the store itself still has the manifest of a snapshot.
func (c *Catalog) There(ctx context.Context, ref snapshot.Ref) (bool, error) {
	_, _, err := fetch(ctx, c.store, ref)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func fetch(ctx context.Context, from targets.Store, ref snapshot.Ref) (snapshot.Manifest, []byte, error) {
	r, err := from.Get(ctx, ref.Key(snapshot.ManifestKind), 0, snapshot.MaxManifest)
	if err != nil {
		return snapshot.Manifest{}, nil, fmt.Errorf("read manifest %s: %w", ref.ID, err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return snapshot.Manifest{}, nil, fmt.Errorf("read manifest %s: %w", ref.ID, err)
	}
	m, err := snapshot.Decode(data, ref)
	return m, data, err
}
