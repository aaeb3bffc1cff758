package catalog

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/backupd/backupd/internal/snapshot"
)

// Of how many volumes, and of each how many manifests, are read at once.
const (
	volumesAtOnce = 4
	fetches       = 8
)

// place is where objects of one snapshot lie in a store.
type place struct {
	ref     snapshot.Ref
	objects []Loose // all of them; loose when there is no manifest among them
	asked   bool
}

func (p place) has(kind snapshot.Kind) bool {
	return slices.ContainsFunc(p.objects, func(o Loose) bool { return o.Kind == kind })
}

func (c *Catalog) list(ctx context.Context, prefix string, q Query) (Listing, error) {
	places, err := c.places(ctx, prefix, q)
	if err != nil {
		return Listing{}, err
	}
	var l Listing
	places = slices.DeleteFunc(places, func(p place) bool {
		loose := !p.has(snapshot.ManifestKind)
		if loose && p.asked {
			l.Loose = append(l.Loose, p.objects...)
		}
		return loose
	})
	manifests, failed := c.manifests(ctx, places)
	if err := context.Cause(ctx); err != nil {
		return Listing{}, err
	}
	for i, p := range places {
		switch err := failed[i]; {
		case !p.asked:
		case err == nil:
			l.Snapshots = append(l.Snapshots, Snapshot{Manifest: manifests[i], Pinned: p.has(snapshot.PinKind)})
		case errors.Is(err, fs.ErrNotExist): // removed since it was listed
		default:
			l.Unreadable = append(l.Unreadable, Unreadable{Ref: p.ref, Err: err})
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
		if i == 0 || !sameVolume(s.Ref(), l.Snapshots[i-1].Ref()) {
			var err error
			if found, err = c.found(s.Host, s.Volume); err != nil {
				l.Unknown = append(l.Unknown, err)
			}
		}
		s.Proof = found[s.ID]
	}
}

func sameVolume(a, b snapshot.Ref) bool { return a.Host == b.Host && a.Volume == b.Volume }

// places gives all snapshots that have an object below prefix: by volume, and oldest first.
func (c *Catalog) places(ctx context.Context, prefix string, q Query) ([]place, error) {
	var places []place
	var last *place
	for object, err := range c.store.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		ref, kind, err := snapshot.ParseKey(object.Key)
		if err != nil || !strings.HasPrefix(object.Key, prefix) {
			continue // foreign
		}
		if last == nil || last.ref != ref { // keys come sorted, so a snapshot's objects come together
			if last != nil && sameVolume(last.ref, ref) {
				ref.Host, ref.Volume = last.ref.Host, last.ref.Volume // many snapshots, one name in memory
			}
			places = append(places, place{ref: ref, asked: q.asks(ref)})
			last = &places[len(places)-1]
		}
		last.objects = append(last.objects, Loose{Ref: last.ref, Kind: kind, Modified: object.Modified})
	}
	slices.SortFunc(places, func(a, b place) int { return byVolumeAndTime(a.ref, b.ref) })
	return places, nil
}

func byVolumeAndTime(a, b snapshot.Ref) int {
	return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Volume, b.Volume), strings.Compare(string(a.ID), string(b.ID)))
}

// manifests reads those of all places that are asked for, each from the cache where that has it, or why it cannot be read.
func (c *Catalog) manifests(ctx context.Context, places []place) ([]snapshot.Manifest, []error) {
	manifests, failed := make([]snapshot.Manifest, len(places)), make([]error, len(places))
	var g errgroup.Group
	g.SetLimit(volumesAtOnce)
	for from := 0; from < len(places); {
		to := from + 1
		for to < len(places) && sameVolume(places[to].ref, places[from].ref) {
			to++
		}
		of, read, why := places[from:to], manifests[from:to], failed[from:to]
		g.Go(func() error {
			c.manifestsOf(ctx, of, read, why)
			return nil
		})
		from = to
	}
	_ = g.Wait() // none fails
	return manifests, failed
}

// manifestsOf reads the manifests of one volume. Of those that nobody asks for the cache keeps what it has.
func (c *Catalog) manifestsOf(ctx context.Context, places []place, manifests []snapshot.Manifest, failed []error) {
	if !slices.ContainsFunc(places, func(p place) bool { return p.asked }) {
		return
	}
	first := places[0].ref
	known := c.cache.load(first.Host, first.Volume)
	there := make([][]byte, len(places))
	var g errgroup.Group
	g.SetLimit(fetches)
	for i, p := range places {
		data, ok := known[p.ref.ID]
		if !p.asked {
			there[i] = data
			continue
		}
		if ok {
			if manifests[i], failed[i] = snapshot.Decode(data, p.ref); failed[i] == nil {
				there[i] = data
				continue
			}
			delete(known, p.ref.ID)
		}
		g.Go(func() error {
			manifests[i], there[i], failed[i] = fetch(ctx, c.store, p.ref)
			return nil
		})
	}
	_ = g.Wait() // each has its error
	readable, learned := make(map[snapshot.ID][]byte, len(places)), false
	for i, p := range places {
		if failed[i] != nil || there[i] == nil {
			continue
		}
		readable[p.ref.ID] = there[i]
		if _, was := known[p.ref.ID]; !was {
			learned = true
		}
	}
	if learned || len(readable) != len(known) {
		c.cache.save(first.Host, first.Volume, readable)
	}
}
