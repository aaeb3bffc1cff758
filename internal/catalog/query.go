package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/backupd/backupd/internal/snapshot"
)

// Query says which snapshots to list. The zero value asks for all of the catalog's own host.
type Query struct {
	Host      string   // "" is the catalog's own
	EveryHost bool     // of all hosts that share the store, for which all keys in it are listed
	Volumes   []string // none is every volume
	ID        string   // the beginning of their ids
}

// part is a part of a store that is listed by itself.
type part struct{ prefix, whose string }

// parts have all that is asked for, and little else.
func (q Query) parts() (parts []part) {
	switch {
	case q.EveryHost:
		return []part{{"", "every host"}}
	case len(q.Volumes) == 0:
		return []part{{snapshot.HostPrefix(q.Host), fmt.Sprintf("host %q", q.Host)}}
	}
	for _, volume := range slices.Compact(slices.Sorted(slices.Values(q.Volumes))) {
		parts = append(parts, part{snapshot.VolumePrefix(q.Host, volume), fmt.Sprintf("volume %q", volume)})
	}
	return parts
}

// asks tells whether a snapshot in one of the parts is asked for.
func (q Query) asks(ref snapshot.Ref) bool {
	return strings.HasPrefix(string(ref.ID), q.ID) && (len(q.Volumes) == 0 || slices.Contains(q.Volumes, ref.Volume))
}

// whole tells whether all of one host is asked for.
func (q Query) whole() bool { return !q.EveryHost && len(q.Volumes) == 0 && q.ID == "" }

// Each lists snapshots volume by volume, in no order that means anything, and of each volume oldest first. So there may be more than fit into
// memory. It ends at the first error. Only manifests of snapshots that are asked for are read.
func (c *Catalog) Each(ctx context.Context, q Query) iter.Seq2[Listing, error] {
	q.Host = cmp.Or(q.Host, c.host)
	return func(yield func(Listing, error) bool) {
		volumes := map[string]bool{}
		for _, part := range q.parts() {
			for l, err := range c.each(ctx, part.prefix, q) {
				if err != nil {
					err = fmt.Errorf("list snapshots of %s: %w", part.whose, err)
				}
				if !yield(l, err) || err != nil {
					return
				}
				maps.Copy(volumes, l.volumes())
			}
		}
		if q.whole() {
			c.cache.sweep(q.Host, volumes)
		}
	}
}

// Snapshot gives one, or an error that is fs.ErrNotExist when there is none.
func (c *Catalog) Snapshot(ctx context.Context, ref snapshot.Ref) (Snapshot, error) {
	l, err := c.List(ctx, Query{Host: ref.Host, Volumes: []string{ref.Volume}, ID: string(ref.ID)})
	for _, s := range l.Snapshots {
		if s.Ref() == ref {
			return s, nil
		}
	}
	if err := errors.Join(err, l.Err()); err != nil {
		return Snapshot{}, err
	}
	return Snapshot{}, fmt.Errorf("look for snapshot %s: %w", ref.ID, fs.ErrNotExist)
}

// Hosts names all hosts that have snapshots in the store, for which all keys in it are listed.
func (c *Catalog) Hosts(ctx context.Context) ([]string, error) {
	hosts := map[string]bool{}
	for object, err := range c.store.List(ctx, "") {
		if err != nil {
			return nil, fmt.Errorf("list hosts: %w", err)
		}
		if ref, kind, err := snapshot.ParseKey(object.Key); err == nil && kind == snapshot.ManifestKind {
			hosts[ref.Host] = true
		}
	}
	return slices.Sorted(maps.Keys(hosts)), nil
}

// List lists snapshots: by host and volume, and oldest first. With an error it gives what it has listed until then.
func (c *Catalog) List(ctx context.Context, q Query) (all Listing, err error) {
	for l, failed := range c.Each(ctx, q) {
		if failed != nil {
			err = failed
			break
		}
		all.add(l)
	}
	all.sort()
	return all, err
}
