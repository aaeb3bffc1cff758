package backup_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets/memory"
)

// history is a volume on one target under a clock of its own, with archives that are made up: how they lean on each other, and what goes
// when, is all that is of interest.
type history struct {
	t      *testing.T
	now    time.Time
	store  *memory.Store
	target backup.Target
	pruner backup.Pruner
	keep   retention.Policy
	random *rand.Rand
}

func newHistory(t *testing.T, policy string, seed uint64) *history {
	t.Helper()
	h := &history{t: t, now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), store: memory.New(), random: rand.New(rand.NewPCG(seed, 7))}
	h.store.Now = func() time.Time { return h.now }
	h.target = backup.Target{Name: "near", Catalog: catalog.New(h.store, nil, "web1")}
	h.pruner = backup.Pruner{Owner: "owner", Now: h.store.Now, Zone: time.UTC}
	var err error
	if h.keep, err = retention.Parse(policy); err != nil {
		t.Fatal(err)
	}
	return h
}

// manifest is of a snapshot that is taken now. It has an archive of its own of so many bytes, or none, and leans on others.
func (h *history) manifest(bytes int, on ...snapshot.Archive) snapshot.Manifest {
	h.t.Helper()
	id, err := snapshot.NewID(h.now, strings.NewReader(fmt.Sprintf("%04x", h.random.IntN(1<<16))))
	if err != nil {
		h.t.Fatal(err)
	}
	m := snapshot.Manifest{
		Format: snapshot.Format, ID: id, Host: "web1", Owner: "owner", Volume: "data", Taken: h.now, Quiesce: "pause", Grade: snapshot.Frozen, Archives: on,
	}
	if bytes > 0 {
		own := snapshot.Archive{ID: id, Size: int64(bytes), Directory: sha256.Sum256([]byte(id))}
		m.Archives = append([]snapshot.Archive{own}, on...)
	}
	return m
}

// store makes a snapshot exist, as a run does.
func (h *history) put(ctx context.Context, m snapshot.Manifest) error {
	if n := m.StoredBytes(); n > 0 {
		if err := h.target.Catalog.PutArchive(ctx, m.Ref(), snapshot.ArchiveKind, bytes.NewReader(make([]byte, n))); err != nil {
			return err
		}
	}
	return h.target.Catalog.Commit(ctx, m)
}

func (h *history) listing() catalog.Listing {
	h.t.Helper()
	faults := h.store.Faults
	h.store.Faults = nil
	defer func() { h.store.Faults = faults }()
	l, err := h.target.Catalog.Volume(h.t.Context(), "data")
	if err := errors.Join(err, l.Err()); err != nil {
		h.t.Fatal(err)
	}
	return l
}

// objects gives all that lies on the target, and its size.
func (h *history) objects() map[string]int64 {
	h.t.Helper()
	faults := h.store.Faults
	h.store.Faults = nil
	defer func() { h.store.Faults = faults }()
	all := map[string]int64{}
	for o, err := range h.store.List(h.t.Context(), "") {
		if err != nil {
			h.t.Fatal(err)
		}
		all[o.Key] = o.Size
	}
	return all
}

// expected gives the keys of manifests and of the archives that they name.
func expected(all []snapshot.Manifest) map[string]bool {
	keys := map[string]bool{}
	for _, m := range all {
		keys[m.Ref().Key(snapshot.ManifestKind)] = true
		for _, a := range m.Archives {
			keys[snapshot.Ref{Host: m.Host, Volume: m.Volume, ID: a.ID}.Key(a.Kind())] = true
		}
	}
	return keys
}

func manifests(l catalog.Listing) (all []snapshot.Manifest) {
	for _, s := range l.Snapshots {
		all = append(all, s.Manifest)
	}
	return all
}

// nothingLacks checks that all is there that snapshots are read from.
func (h *history) nothingLacks(where string) {
	h.t.Helper()
	there := h.objects()
	for key := range expected(manifests(h.listing())) {
		if _, ok := there[key]; !ok {
			h.t.Fatalf("%s: %s is gone, and a snapshot needs it", where, key)
		}
	}
}

// nothingIsLeft checks that nothing lies there that no snapshot needs.
func (h *history) nothingIsLeft(where string) {
	h.t.Helper()
	needed := expected(manifests(h.listing()))
	for key := range h.objects() {
		if !needed[key] {
			h.t.Fatalf("%s: %s is left, and nothing needs it", where, key)
		}
	}
}

// next chooses what a run makes: a full archive, one that leans on some of those before it, or none.
func (h *history) next() snapshot.Manifest {
	all := h.listing().Snapshots
	if len(all) == 0 || h.random.IntN(5) == 0 {
		return h.manifest(100)
	}
	base := all[h.random.IntN(len(all))]
	if h.random.IntN(3) == 0 {
		return h.manifest(0, base.Archives...)
	}
	return h.manifest(10, base.Archives[:1+h.random.IntN(len(base.Archives))]...)
}

// step does one thing, whatever comes of it.
func (h *history) step(ctx context.Context) {
	switch all := h.listing().Snapshots; {
	case h.random.IntN(4) > 0 || len(all) == 0:
		if h.put(ctx, h.next()) == nil {
			_, _ = h.pruner.Prune(ctx, h.target, "data", h.keep)
		}
	case h.random.IntN(2) == 0:
		_ = h.target.Catalog.Remove(ctx, all[h.random.IntN(len(all))].Ref())
	default:
		_, _ = h.pruner.Prune(ctx, h.target, "data", h.keep)
	}
}

// TestNoSnapshotIsEverWithoutWhatItLeansOn has runs, removals and retention come in any order, with calls that fail, or take effect and fail
// all the same, or after which the process is killed.
func TestNoSnapshotIsEverWithoutWhatItLeansOn(t *testing.T) {
	policies := []string{"last=1", "last=3", "last=2 daily=3", "hourly=5 weekly=2"}
	for seed := range uint64(200) {
		h := newHistory(t, policies[seed%uint64(len(policies))], seed)
		for n := range 30 {
			h.now = h.now.Add(time.Duration(1+h.random.IntN(20*60)) * time.Minute)
			ctx, cancel := context.WithCancel(t.Context())
			h.store.Faults = &faulttest.Injector{Kind: faulttest.Kinds[h.random.IntN(3)], Cancel: cancel, At: h.random.IntN(12)}
			h.step(ctx)
			cancel()
			h.nothingLacks(fmt.Sprintf("seed %d, step %d", seed, n))
		}
		h.store.Faults = nil
		h.now = h.now.Add(50 * time.Hour)
		if _, err := h.pruner.Prune(t.Context(), h.target, "data", h.keep); err != nil {
			t.Fatal(err)
		}
		where := fmt.Sprintf("seed %d, in the end", seed)
		h.nothingLacks(where)
		h.nothingIsLeft(where)
	}
}

// TestSixtyDaysOfHourlyRuns has a full archive each week, which the runs until the next one lean on, and hours without any change. A model
// knows only what was made and what the policy says.
func TestSixtyDaysOfHourlyRuns(t *testing.T) {
	const full, increment, change = 1000, 20, 3 // an hour in so many has a change
	h := newHistory(t, "hourly=24 daily=7 weekly=4 monthly=2", 1)
	var made []snapshot.Manifest // those that the model has, oldest first
	var base, last snapshot.Manifest
	most := int64(0)
	for hour := range 60 * 24 {
		h.now = h.now.Add(time.Hour)
		switch {
		case hour%(7*24) == 0:
			base = h.manifest(full)
			last = base
		case h.random.IntN(change) == 0:
			last = h.manifest(increment, base.Archives...)
		default:
			last = h.manifest(0, last.Archives...)
		}
		if err := h.put(t.Context(), last); err != nil {
			t.Fatal(err)
		}
		pruned, err := h.pruner.Prune(t.Context(), h.target, "data", h.keep)
		if err != nil {
			t.Fatal(err)
		}
		made = model(h.keep, append(made, last), h.now)
		h.isAs(made, fmt.Sprintf("hour %d", hour))
		if got, want := len(pruned.Stays), withoutOwn(made); got != want {
			t.Fatalf("hour %d: %d archives are said to stay for others, and %d do", hour, got, want)
		}
		most = max(most, total(h.objects(), ".tar.zst"))
	}
	// At most six weeks have a full archive that something needs: four, the one that runs, and a month's; and 37 hours an increment.
	if limit := int64(7*full + 37*increment); most > limit || most < 4*full {
		t.Errorf("archives took %d bytes at most, which should be below %d", most, limit)
	}
}

// model gives what stays of snapshots.
func model(keep retention.Policy, all []snapshot.Manifest, now time.Time) (left []snapshot.Manifest) {
	plain := make([]retention.Snapshot, len(all))
	byID := map[snapshot.ID]snapshot.Manifest{}
	for i, m := range all {
		plain[i], byID[m.ID] = retention.Snapshot{ID: m.ID, Taken: m.Taken, Good: true}, m
	}
	for _, v := range retention.Decide(keep, plain, now, time.UTC) {
		if v.Keep {
			left = append(left, byID[v.ID])
		}
	}
	slices.SortFunc(left, func(a, b snapshot.Manifest) int { return cmp.Compare(a.ID, b.ID) })
	return left
}

// isAs checks that on the target lies what the model has, and nothing else.
func (h *history) isAs(all []snapshot.Manifest, where string) {
	h.t.Helper()
	want, got := expected(all), h.objects()
	for key := range want {
		if _, there := got[key]; !there {
			h.t.Fatalf("%s: %s is gone", where, key)
		}
	}
	if len(got) != len(want) {
		h.t.Fatalf("%s: there are %d objects, and should be %d", where, len(got), len(want))
	}
}

// withoutOwn counts the archives whose own snapshots are gone.
func withoutOwn(all []snapshot.Manifest) (n int) {
	own, named := map[snapshot.ID]bool{}, map[snapshot.ID]bool{}
	for _, m := range all {
		own[m.ID] = true
		for _, a := range m.Archives {
			named[a.ID] = true
		}
	}
	for id := range named {
		if !own[id] {
			n++
		}
	}
	return n
}

func total(objects map[string]int64, kind string) (n int64) {
	for key, size := range objects {
		if strings.HasSuffix(key, kind) {
			n += size
		}
	}
	return n
}
