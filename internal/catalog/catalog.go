// Package catalog keeps the snapshots of one host in one store: it commits them, lists them, pins them and takes them away.
//
// Its order of writes and removals is what makes "a manifest means a whole archive" true. It trusts nothing that lies in the
// store. A Catalog takes no locks itself: who writes or removes holds those of the volume (Locks), often over more than one call.
package catalog

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/backupd/backupd/internal/seal"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets"
)

// Catalog is the snapshots of a host in a store.
type Catalog struct {
	store targets.Store
	cache targets.Store // of manifests, which never change; nil for none
	host  string
	keys  *seal.Keys // to encrypted archives; nil for none
	found Found

	opened func(m snapshot.Manifest) // nil for nobody to tell
}

// New gives the catalog of a host. The cache, if not nil, is the catalog's own: it belongs to this one store.
func New(store, cache targets.Store, host string) *Catalog {
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

// Found gives what was found when snapshots of a volume were last read back from the store. An error says that it cannot be known which of
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
	Proof  snapshot.Proof // what was found when it was last read back
}

// Good tells whether the snapshot counts, for retention and as "latest": its manifest says so, and it is not known to be damaged.
func (s Snapshot) Good() bool { return s.Proof.Damaged == "" && s.Manifest.Good() }

// Unreadable is a manifest that is there and cannot be read or believed.
type Unreadable struct {
	Ref snapshot.Ref
	Err error
}

// Loose is an archive or a pin without a manifest: of a run that is under way, or of one that was cut off.
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

// Volume lists the snapshots of a volume.
func (c *Catalog) Volume(ctx context.Context, volume string) (Listing, error) {
	l, err := c.list(ctx, snapshot.VolumePrefix(c.host, volume))
	if err != nil {
		return Listing{}, fmt.Errorf("list snapshots of volume %q: %w", volume, err)
	}
	return l, nil
}

// All lists the snapshots of every volume of the host: by volume, and oldest first.
func (c *Catalog) All(ctx context.Context) (Listing, error) {
	l, err := c.list(ctx, snapshot.HostPrefix(c.host))
	if err != nil {
		return Listing{}, fmt.Errorf("list snapshots of host %q: %w", c.host, err)
	}
	return l, nil
}

// fetches is how many manifests are read at once.
const fetches = 8

func (c *Catalog) list(ctx context.Context, prefix string) (Listing, error) {
	objects, err := c.objects(ctx, prefix)
	if err != nil {
		return Listing{}, err
	}
	var l Listing
	var refs []snapshot.Ref
	for ref, kinds := range objects {
		if _, committed := kinds[snapshot.ManifestKind]; committed {
			refs = append(refs, ref)
			continue
		}
		for kind, modified := range kinds {
			l.Loose = append(l.Loose, Loose{Ref: ref, Kind: kind, Modified: modified})
		}
	}
	slices.SortFunc(refs, byVolumeAndTime)
	slices.SortFunc(l.Loose, func(a, b Loose) int {
		return cmp.Or(byVolumeAndTime(a.Ref, b.Ref), strings.Compare(string(a.Kind), string(b.Kind)))
	})

	manifests := make([]snapshot.Manifest, len(refs))
	failed := make([]error, len(refs))
	var g errgroup.Group
	g.SetLimit(fetches)
	for i, ref := range refs {
		g.Go(func() error {
			manifests[i], failed[i] = c.manifest(ctx, ref)
			return nil
		})
	}
	g.Wait()
	if err := context.Cause(ctx); err != nil {
		return Listing{}, err
	}
	for i, ref := range refs {
		switch _, pinned := objects[ref][snapshot.PinKind]; {
		case failed[i] == nil:
			l.Snapshots = append(l.Snapshots, Snapshot{Manifest: manifests[i], Pinned: pinned})
		case errors.Is(failed[i], fs.ErrNotExist): // removed since it was listed
		default:
			l.Unreadable = append(l.Unreadable, Unreadable{Ref: ref, Err: failed[i]})
		}
	}
	c.mark(&l)
	return l, nil
}

// mark puts into a listing what was found before. The snapshots of a volume come one after the other.
func (c *Catalog) mark(l *Listing) {
	if c.found == nil {
		return
	}
	var found map[snapshot.ID]snapshot.Proof
	for i := range l.Snapshots {
		s := &l.Snapshots[i]
		if i == 0 || s.Volume != l.Snapshots[i-1].Volume {
			var err error
			if found, err = c.found(s.Host, s.Volume); err != nil {
				l.Unknown = append(l.Unknown, err)
			}
		}
		s.Proof = found[s.ID]
	}
}

// There tells whether the store itself still has the manifest of a snapshot.
func (c *Catalog) There(ctx context.Context, ref snapshot.Ref) (bool, error) {
	_, _, err := fetch(ctx, c.store, ref)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func byVolumeAndTime(a, b snapshot.Ref) int {
	return cmp.Or(strings.Compare(a.Volume, b.Volume), strings.Compare(string(a.ID), string(b.ID)))
}

// objects gives for each snapshot below prefix the objects that it has, and when they were put.
func (c *Catalog) objects(ctx context.Context, prefix string) (map[snapshot.Ref]map[snapshot.Kind]time.Time, error) {
	found := map[snapshot.Ref]map[snapshot.Kind]time.Time{}
	for object, err := range c.store.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		ref, kind, err := snapshot.ParseKey(object.Key)
		if err != nil || !strings.HasPrefix(object.Key, prefix) {
			continue // foreign
		}
		if found[ref] == nil {
			found[ref] = map[snapshot.Kind]time.Time{}
		}
		found[ref][kind] = object.Modified
	}
	return found, nil
}

// manifest reads a manifest, from the cache where that has it.
func (c *Catalog) manifest(ctx context.Context, ref snapshot.Ref) (snapshot.Manifest, error) {
	if c.cache != nil {
		if m, _, err := fetch(ctx, c.cache, ref); err == nil {
			return m, nil
		}
	}
	m, data, err := fetch(ctx, c.store, ref)
	if err == nil && c.cache != nil {
		c.remember(ctx, ref, data)
	}
	return m, err
}

// remember puts a manifest into the cache. What the cache had there could not be read, so it goes first. A cache that takes nothing
// costs time and no more, so its errors are not passed on.
func (c *Catalog) remember(ctx context.Context, ref snapshot.Ref, data []byte) {
	key := ref.Key(snapshot.ManifestKind)
	if c.cache.Delete(ctx, key) == nil {
		_ = c.cache.Put(ctx, key, bytes.NewReader(data))
	}
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
