package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/backupd/backupd/internal/snapshot"
)

// Of how many volumes manifests are read ahead, and of each how many at once.
const (
	volumesAhead = 4
	fetches      = 8
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

// drills are in order, as keys come sorted.
func (p place) drills() (drills []snapshot.Trial) {
	for _, o := range p.objects {
		if t, ok := o.Kind.Trial(); ok {
			drills = append(drills, t)
		}
	}
	return drills
}

// each lists what lies below a prefix, volume by volume in the order of keys. While one is looked at the next ones are read.
func (c *Catalog) each(ctx context.Context, prefix string, q Query) iter.Seq2[Listing, error] {
	return func(yield func(Listing, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		ahead := make(chan chan Listing, volumesAhead)
		ended := make(chan error, 1)
		go func() {
			defer close(ahead)
			ended <- c.readAhead(ctx, prefix, q, ahead)
		}()
		wanted := true
		for next := range ahead {
			l := <-next
			if wanted && context.Cause(ctx) == nil && !yield(l, nil) {
				wanted = false
				cancel(nil)
			}
		}
		if err := cmp.Or(<-ended, context.Cause(ctx)); err != nil && wanted {
			yield(Listing{}, err)
		}
		cancel(nil)
	}
}

// readAhead has the volumes listed, each by a goroutine of its own, which sends one Listing.
func (c *Catalog) readAhead(ctx context.Context, prefix string, q Query, ahead chan<- chan Listing) error {
	for places, err := range c.volumes(ctx, prefix, q) {
		if err != nil {
			return err
		}
		next := make(chan Listing, 1)
		select {
		case ahead <- next:
			go func() { next <- c.volume(ctx, places) }()
		case <-ctx.Done():
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// volumes gives the places of one volume after the other, each oldest first: keys come sorted, so those of a volume come together.
func (c *Catalog) volumes(ctx context.Context, prefix string, q Query) iter.Seq2[[]place, error] {
	return func(yield func([]place, error) bool) {
		var places []place
		for object, err := range c.store.List(ctx, prefix) {
			if err != nil {
				yield(nil, err)
				return
			}
			ref, kind, err := snapshot.ParseKey(object.Key)
			if err != nil || !strings.HasPrefix(object.Key, prefix) {
				continue // foreign
			}
			if len(places) > 0 && !sameVolume(places[0].ref, ref) {
				if !yield(places, nil) {
					return
				}
				places = nil
			}
			places = put(places, ref, q.asks(ref), Loose{Ref: ref, Kind: kind, Modified: object.Modified})
		}
		if len(places) > 0 {
			yield(places, nil)
		}
	}
}

func sameVolume(a, b snapshot.Ref) bool { return a.Host == b.Host && a.Volume == b.Volume }

// put adds an object to the places of its volume.
func put(places []place, ref snapshot.Ref, asked bool, object Loose) []place {
	if len(places) > 0 { // many snapshots, one name in memory
		ref.Host, ref.Volume = places[0].ref.Host, places[0].ref.Volume
	}
	if len(places) == 0 || places[len(places)-1].ref != ref {
		places = append(places, place{ref: ref, asked: asked})
	}
	p := &places[len(places)-1]
	object.Ref = p.ref
	p.objects = append(p.objects, object)
	return places
}

// volume lists what is asked for of one volume.
func (c *Catalog) volume(ctx context.Context, places []place) (l Listing) {
	there := archivesIn(places)
	places = slices.DeleteFunc(places, func(p place) bool {
		loose := !p.has(snapshot.ManifestKind)
		if loose && p.asked {
			l.Loose = append(l.Loose, p.objects...)
		}
		return loose
	})
	defer func() { l.Loose = slices.DeleteFunc(l.Loose, l.needs) }()
	manifests, failed := c.manifests(ctx, places)
	for i, p := range places {
		switch err := failed[i]; {
		case !p.asked:
		case err == nil:
			s := Snapshot{Manifest: manifests[i], Pinned: p.has(snapshot.PinKind), Drills: p.drills()}
			s.Spoiled = slices.ContainsFunc(s.Archives, func(a snapshot.Archive) bool { return !there[a.ID] })
			l.Snapshots = append(l.Snapshots, s)
		case errors.Is(err, fs.ErrNotExist): // removed since it was listed
		default:
			l.Unreadable = append(l.Unreadable, Unreadable{Ref: p.ref, Err: err})
		}
	}
	c.mark(&l)
	return l
}

// archivesIn gives the archives of a volume that are there.
func archivesIn(places []place) map[snapshot.ID]bool {
	there := map[snapshot.ID]bool{}
	for _, p := range places {
		there[p.ref.ID] = slices.ContainsFunc(p.objects, func(o Loose) bool { return o.Kind.IsArchive() })
	}
	return there
}

// mark puts into the listing of a volume what was found before.
func (c *Catalog) mark(l *Listing) {
	if c.found == nil || len(l.Snapshots) == 0 {
		return
	}
	found, err := c.found(l.Snapshots[0].Host, l.Snapshots[0].Volume)
	if err != nil {
		l.Unknown = append(l.Unknown, err)
	}
	for i := range l.Snapshots {
		s := &l.Snapshots[i]
		s.Proof = found[s.ID]
		for _, a := range s.Archives {
			s.consider(a.ID, found[a.ID])
		}
	}
}

// consider marks a snapshot by what was found in an archive that it is read from. What was found in the snapshot itself since then counts
// more: the damage need not lie in what is read of the archive.
func (s *Snapshot) consider(archive snapshot.ID, p snapshot.Proof) {
	if !p.Spoils(archive) {
		return
	}
	s.Spoiled = true
	if archive != s.ID && s.Proof.Damaged == "" && p.At.After(s.Proof.At) {
		s.Proof.Damaged = fmt.Sprintf("archive %s, which it is read from: %s", archive, p.Damaged)
	}
}

// manifests reads those of one volume that are asked for, each from the cache where that has it, or why it cannot be read. Of the others the
// cache keeps what it has.
func (c *Catalog) manifests(ctx context.Context, places []place) (manifests []snapshot.Manifest, failed []error) {
	manifests, failed = make([]snapshot.Manifest, len(places)), make([]error, len(places))
	if !slices.ContainsFunc(places, func(p place) bool { return p.asked }) {
		return manifests, failed
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
	return manifests, failed
}
