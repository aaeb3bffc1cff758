package catalog_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/memory"
)

const host = "web1"

var day0 = time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)

// manifest is of a snapshot on the given day, with an archive of its own that holds its id.
func manifest(volume string, day int) snapshot.Manifest {
	taken := day0.AddDate(0, 0, day)
	id, err := snapshot.NewID(taken, bytes.NewReader([]byte{0, 0, 0, byte(day)}))
	if err != nil {
		panic(err)
	}
	return snapshot.Manifest{
		Format: snapshot.Format, ID: id, Host: host, Volume: volume, Taken: taken, Quiesce: "pause", Grade: snapshot.Frozen,
		Archives: []snapshot.Archive{{ID: id, Size: int64(len(id)), Directory: sha256.Sum256([]byte(id))}},
	}
}

func store(t *testing.T, c *catalog.Catalog, volume string, days ...int) []snapshot.Manifest {
	t.Helper()
	var all []snapshot.Manifest
	for _, day := range days {
		m := manifest(volume, day)
		if err := c.PutArchive(t.Context(), m.Ref(), m.Archives[0].Kind(), strings.NewReader(string(m.ID))); err != nil {
			t.Fatal(err)
		}
		if err := c.Commit(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

func ids(l catalog.Listing) (ids []snapshot.ID) {
	for _, s := range l.Snapshots {
		ids = append(ids, s.ID)
	}
	return ids
}

func list(t *testing.T, c *catalog.Catalog, volume string) catalog.Listing {
	t.Helper()
	l, err := c.Volume(t.Context(), volume)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func keys(t *testing.T, s targets.Store) (keys []string) {
	t.Helper()
	for o, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

func put(t *testing.T, s targets.Store, key, data string) {
	t.Helper()
	if err := s.Put(t.Context(), key, strings.NewReader(data)); err != nil {
		t.Fatal(err)
	}
}

func TestListsOldestFirstAndOnlyItsOwn(t *testing.T) {
	s := memory.New()
	c := catalog.New(s, nil, host)
	want := store(t, c, "app", 2, 1, 3)
	store(t, c, "app2", 1)
	store(t, catalog.New(s, nil, host), "a/p", 1)
	put(t, s, "readme.txt", "hands off")
	put(t, s, host+"/app/notes.json", "{}")
	put(t, s, "web10/app/20261101T030000Z-00000001.json", "another host's, and broken")

	l := list(t, c, "app")
	if got, want := ids(l), []snapshot.ID{want[1].ID, want[0].ID, want[2].ID}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := l.Err(); err != nil {
		t.Errorf("foreign objects are no error, but: %v", err)
	}
	all, err := c.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(all.Snapshots) != 5 {
		t.Errorf("all volumes have %d snapshots, want 5", len(all.Snapshots))
	}
}

func TestNoCommitWithoutTheWholeArchive(t *testing.T) {
	for name, archive := range map[string]string{"none": "", "a torn one": "2026"} {
		s := memory.New()
		c := catalog.New(s, nil, host)
		m := manifest("app", 1)
		if archive != "" {
			put(t, s, m.Ref().Key(snapshot.ArchiveKind), archive)
		}
		if err := c.Commit(t.Context(), m); err == nil {
			t.Errorf("committed with %s", name)
		}
		if l := list(t, c, "app"); len(l.Snapshots) != 0 {
			t.Errorf("with %s, %v is listed", name, ids(l))
		}
	}
}

func TestAManifestThatCannotBeReadIsToldAndHidesNoOther(t *testing.T) {
	s := memory.New()
	c := catalog.New(s, nil, host)
	store(t, c, "app", 1)
	put(t, s, manifest("app", 2).Ref().Key(snapshot.ManifestKind), "{broken")
	l := list(t, c, "app")
	if len(l.Snapshots) != 1 || len(l.Unreadable) != 1 {
		t.Fatalf("listed %d and %d unreadable", len(l.Snapshots), len(l.Unreadable))
	}
	if err := l.Err(); err == nil || !strings.Contains(err.Error(), "20261103T030000Z") {
		t.Errorf("the error does not name the snapshot: %v", err)
	}
}

func TestRemoveTakesManifestThenArchiveAndPin(t *testing.T) {
	s := memory.New()
	c := catalog.New(s, nil, host)
	m := store(t, c, "app", 1, 2)
	if err := errors.Join(c.Pin(t.Context(), m[0].Ref()), c.Pin(t.Context(), m[0].Ref())); err != nil {
		t.Fatal(err)
	}
	if l := list(t, c, "app"); !l.Snapshots[0].Pinned || l.Snapshots[1].Pinned {
		t.Error("the wrong ones are pinned")
	}
	if err := c.Remove(t.Context(), m[0].Ref()); err != nil {
		t.Fatal(err)
	}
	want := []string{m[1].Ref().Key(snapshot.ManifestKind), m[1].Ref().Key(snapshot.ArchiveKind)}
	if got := keys(t, s); !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
}

func TestAnArchiveThatAnotherSnapshotNeedsStays(t *testing.T) {
	s := memory.New()
	c := catalog.New(s, nil, host)
	base := store(t, c, "app", 1)[0]
	m := manifest("app", 2)
	m.Archives = base.Archives // nothing changed since
	if err := c.Commit(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(t.Context(), base.Ref()); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(keys(t, s), base.Ref().Key(snapshot.ArchiveKind)) {
		t.Error("the archive is gone")
	}
	if l := list(t, c, "app"); len(l.Loose) > 0 || !slices.Equal(l.Leaning(base.ID), []snapshot.ID{m.ID}) {
		t.Errorf("loose are %v, and it is read for %v", l.Loose, l.Leaning(base.ID))
	}
	if swept, _, err := c.Sweep(t.Context(), "app", time.Now().AddDate(1, 0, 0)); err != nil || swept != 0 {
		t.Errorf("swept %d (%v)", swept, err)
	}
	if err := c.Remove(t.Context(), m.Ref()); err != nil || len(keys(t, s)) > 0 {
		t.Errorf("left are %v (%v)", keys(t, s), err)
	}
}

func TestSweepTakesOnlyWhatIsOldAndUnneeded(t *testing.T) {
	s := memory.New()
	now := day0.AddDate(0, 0, 10)
	s.Now = func() time.Time { return now.Add(-49 * time.Hour) }
	c := catalog.New(s, nil, host)
	store(t, c, "app", 1)
	old, young := manifest("app", 7).Ref(), manifest("app", 9).Ref()
	put(t, s, old.Key(snapshot.ArchiveKind), "cut off")
	put(t, s, young.Key(snapshot.ArchiveKind), "under way")
	put(t, s, host+"/app/important.tar.zst", "foreign")
	if swept, _, err := c.Sweep(t.Context(), "app", now); err != nil || swept != 1 {
		t.Errorf("swept %d, %v", swept, err)
	}
	if got := keys(t, s); slices.Contains(got, old.Key(snapshot.ArchiveKind)) || len(got) != 4 {
		t.Errorf("left are %v", got)
	}
	put(t, s, old.Key(snapshot.ArchiveKind), "cut off")
	swept, kept, err := catalog.New(locking{s}, nil, host).Sweep(t.Context(), "app", now)
	if err != nil || swept != 0 || len(kept) != 1 || !strings.Contains(kept[0].Error(), "kept: locked until tomorrow") {
		t.Errorf("swept %d, kept %v, %v, want that it is locked", swept, kept, err)
	}
	put(t, s, manifest("app", 8).Ref().Key(snapshot.ManifestKind), "{broken")
	if swept, _, err := c.Sweep(t.Context(), "app", now); err == nil || swept != 0 {
		t.Errorf("swept %d beside a manifest that may need it, %v", swept, err)
	}
}

// abandoning has uploads that were cut off, under these keys.
type abandoning struct {
	*memory.Store
	keys []string
	err  error
}

func (a abandoning) Abandon(_ context.Context, prefix string, mine func(string) bool) (n int, err error) {
	for _, key := range a.keys {
		if strings.HasPrefix(key, prefix) && mine(key) {
			n++
		}
	}
	return n, a.err
}

func TestSweepGivesUpUploadsOfTheVolumeAlone(t *testing.T) {
	young := manifest("app", 9).Ref()
	s := abandoning{Store: memory.New(), keys: []string{
		young.Key(snapshot.ArchiveKind), host + "/app/video.mp4", host + "/app/x/y.tar.zst", manifest("app2", 9).Ref().Key(snapshot.ArchiveKind),
	}}
	if swept, kept, err := catalog.New(s, nil, host).Sweep(t.Context(), "app", day0); err != nil || swept != 1 || len(kept) > 0 {
		t.Errorf("swept %d, kept %v, %v, want the one", swept, kept, err)
	}
	s.err = targets.Kept{Why: "nobody may look"}
	if _, kept, err := catalog.New(s, nil, host).Sweep(t.Context(), "app", day0); err != nil || len(kept) != 1 || !strings.Contains(kept[0].Error(), "nobody may look") {
		t.Errorf("kept %v, %v, want that nobody may look", kept, err)
	}
}

// locking lets nothing go.
type locking struct{ *memory.Store }

func (locking) Delete(context.Context, string) error {
	return targets.Kept{Why: "locked until tomorrow"}
}

// lying answers that it lets go.
type lying struct{ *memory.Store }

func (lying) Delete(context.Context, string) error { return nil }

func TestRemoveThatIsNone(t *testing.T) {
	s := memory.New()
	store(t, catalog.New(s, nil, host), "app", 1)
	err := catalog.New(lying{s}, nil, host).Remove(t.Context(), manifest("app", 1).Ref())
	if err == nil || !strings.Contains(err.Error(), "still lists it") {
		t.Errorf("%v, want that it is still there", err)
	}
}

// A snapshot whose manifest is locked stays whole.
func TestRemoveOfWhatIsLocked(t *testing.T) {
	s := memory.New()
	store(t, catalog.New(s, nil, host), "app", 1)
	before := keys(t, s)
	err := catalog.New(locking{s}, nil, host).Remove(t.Context(), manifest("app", 1).Ref())
	if !errors.As(err, new(targets.Kept)) || !slices.Equal(keys(t, s), before) {
		t.Errorf("%v, and left are %v of %v", err, keys(t, s), before)
	}
}

func TestAFaultNeverLeavesAManifestWithoutItsArchive(t *testing.T) {
	for _, kind := range faulttest.Kinds {
		for at := 1; ; at++ {
			s := memory.New()
			c := catalog.New(s, nil, host)
			old := store(t, c, "app", 1)[0]
			ctx, cancel := context.WithCancel(t.Context())
			faults := &faulttest.Injector{At: at, Kind: kind, Cancel: cancel}
			s.Faults = faults
			m := manifest("app", 2)
			_ = c.PutArchive(ctx, m.Ref(), m.Archives[0].Kind(), strings.NewReader(string(m.ID)))
			_ = c.Commit(ctx, m)
			_ = c.Remove(ctx, old.Ref())
			cancel()
			s.Faults = nil
			there := keys(t, s)
			for _, sn := range list(t, c, "app").Snapshots {
				if !slices.Contains(there, sn.Ref().Key(snapshot.ArchiveKind)) {
					t.Errorf("fault %d %v: %s has no archive", at, kind, sn.ID)
				}
			}
			if at > len(faults.Calls()) {
				break
			}
		}
	}
}

func TestLocksExcludeEachOtherInAnyOrder(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := catalog.Locks{Dir: dir}
		first, err := l.Hold(t.Context(), "b", "a", "a")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Hold(ctx, "a", "b"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the second got in, or failed with %v", err)
		}
		if err := first(); err != nil {
			t.Fatal(err)
		}
		second, err := l.Hold(t.Context(), "a", "..", "new\nline/x")
		if err != nil {
			t.Fatal(err)
		}
		if err := second(); err != nil {
			t.Fatal(err)
		}
	})
}
