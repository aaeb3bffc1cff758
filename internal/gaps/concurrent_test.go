package gaps_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/gaps"
	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets/local"
)

// TestRunsCopiesAndRemovalsAtOnceLeaveNothingLacking has several that store snapshots which lean on others, fill targets, apply retention and
// remove snapshots by hand at the same time, as processes do that share nothing but the locks of volumes.
func TestRunsCopiesAndRemovalsAtOnceLeaveNothingLacking(t *testing.T) {
	const rounds = 40
	w := newWorld(t)
	keep, err := retention.Parse("last=4")
	must(t, err)
	w.volume.Retention.Value = keep
	for i, name := range w.volume.Targets.Value {
		store, err := local.Open(filepath.Join(t.TempDir(), name))
		must(t, err)
		w.filler.Targets[i].Catalog = catalog.New(store, nil, "web1")
	}
	locks := t.TempDir()
	clock := &clock{now: day0}
	var working sync.WaitGroup
	each := func(n uint64, do func(random *rand.Rand, hold lock) error) {
		working.Go(func() {
			random := rand.New(rand.NewPCG(n, 1))
			for range rounds {
				if err := do(random, catalog.Locks{Dir: locks}.Hold); err != nil {
					t.Error(err)
				}
			}
		})
	}
	each(1, func(random *rand.Rand, hold lock) error { return w.run(t, random, hold, clock.next()) })
	each(2, func(random *rand.Rand, hold lock) error { return w.run(t, random, hold, clock.next()) })
	each(3, func(_ *rand.Rand, hold lock) error {
		f := w.filler
		f.Lock = hold
		copies, err := f.Fill(t.Context(), w.volume, gaps.Limits{Most: 3})
		for _, c := range copies {
			err = errors.Join(err, c.Err)
		}
		return err
	})
	each(4, func(random *rand.Rand, hold lock) error { return w.removeOne(t, random, hold) })
	working.Wait()
	for _, target := range w.filler.Targets {
		w.lacksNothing(t, target)
	}
}

type lock func(ctx context.Context, volumes ...string) (release func() error, err error)

// clock gives moments that are one after the other.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) next() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Minute)
	return c.now
}

// run stores a snapshot on two targets, as a run does: it leans on what both of them have. Then it applies retention.
func (w *world) run(t *testing.T, random *rand.Rand, hold lock, at time.Time) (err error) {
	release, err := hold(t.Context(), "app")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	m := w.manifest(0)
	m.Taken = at
	if m.ID, err = snapshot.NewID(at, strings.NewReader(fmt.Sprintf("%04x", random.IntN(1<<16)))); err != nil {
		return err
	}
	m.Archives[0].ID = m.ID
	off := random.IntN(3)
	to := append(append([]backup.Target{}, w.filler.Targets[:off]...), w.filler.Targets[off+1:]...)
	if on, ok := w.common(t, to); ok && random.IntN(4) > 0 {
		m.Archives = append(m.Archives, on.Archives...)
		if random.IntN(3) == 0 {
			m.Archives = on.Archives
		}
	}
	for _, target := range to {
		if m.StoredBytes() > 0 {
			if err := target.Catalog.PutArchive(t.Context(), m.Ref(), snapshot.ArchiveKind, bytes.NewReader(w.bytes)); err != nil {
				return err
			}
		}
		if err := target.Catalog.Commit(t.Context(), m); err != nil {
			return err
		}
		if _, err := w.filler.Pruner.Prune(t.Context(), target, "app", w.volume.Retention.Value); err != nil {
			return err
		}
	}
	return nil
}

// common gives a snapshot that targets have in common, with no more archives than three.
func (w *world) common(t *testing.T, targets []backup.Target) (found catalog.Snapshot, ok bool) {
	count := map[snapshot.ID]int{}
	for _, target := range targets {
		l, err := target.Catalog.Volume(t.Context(), "app")
		must(t, err)
		for _, s := range l.Snapshots {
			if count[s.ID]++; count[s.ID] == len(targets) && s.MayBeLeantOn() && len(s.Archives) <= 3 {
				found, ok = s, true
			}
		}
	}
	return found, ok
}

// removeOne removes a snapshot from one target by hand.
func (w *world) removeOne(t *testing.T, random *rand.Rand, hold lock) (err error) {
	release, err := hold(t.Context(), "app")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	target := w.filler.Targets[random.IntN(3)]
	l, err := target.Catalog.Volume(t.Context(), "app")
	if err != nil || len(l.Snapshots) < 3 {
		return err
	}
	return target.Catalog.Remove(t.Context(), l.Snapshots[random.IntN(len(l.Snapshots))].Ref())
}

// lacksNothing checks that on a target is all that its snapshots are read from, and nothing else.
func (w *world) lacksNothing(t *testing.T, target backup.Target) {
	t.Helper()
	l, err := target.Catalog.Volume(t.Context(), "app")
	must(t, errors.Join(err, l.Err()))
	if len(l.Loose) > 0 || len(l.Snapshots) == 0 {
		t.Errorf("target %s has %d snapshots, and loose are %v", target.Name, len(l.Snapshots), l.Loose)
	}
	for _, s := range l.Snapshots {
		for _, a := range s.Archives {
			alone := s.Manifest
			alone.Archives = []snapshot.Archive{a}
			from, _, err := target.Catalog.Stream(t.Context(), alone)
			must(t, err)
			data, err := io.ReadAll(from)
			if err := errors.Join(err, from.Close()); err != nil || !bytes.Equal(data, w.bytes) {
				t.Errorf("target %s: archive %s of snapshot %s has %d bytes (%v)", target.Name, a.ID, s.ID, len(data), err)
			}
		}
	}
}
