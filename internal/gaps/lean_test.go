package gaps_test

import (
	"bytes"
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/gaps"
	"github.com/backupd/backupd/internal/snapshot"
)

// leaning stores on a target a snapshot, one that leans on its archive, and one for which nothing had changed since.
func (w *world) leaning(t *testing.T, on string) (base, next, unchanged snapshot.Manifest) {
	t.Helper()
	base, next, unchanged = w.manifest(0), w.manifest(1), w.manifest(2)
	base.ID = "20261101T030000Z-00000001" // as the golden archive has it
	base.Archives = nil
	for golden, m := range map[string]*snapshot.Manifest{"leaning-base": &base, "leaning": &next} {
		data, err := os.ReadFile(filepath.Join("..", "archive", "testdata", golden+".tar.zst"))
		must(t, err)
		r, err := archive.Open(t.Context(), func(_ context.Context, off, n int64) (io.ReadCloser, error) {
			return io.NopCloser(io.NewSectionReader(bytes.NewReader(data), off, n)), nil
		}, int64(len(data)), archive.ReaderOptions{})
		must(t, err)
		m.Archives = []snapshot.Archive{{ID: m.ID, Size: int64(len(data)), Plain: r.Contents().Tar, Directory: r.Contents().Directory}}
		r.Close()
		must(t, w.stores[on].Put(t.Context(), m.Ref().Key(snapshot.ArchiveKind), bytes.NewReader(data)))
	}
	next.Archives = append(next.Archives, base.Archives[0])
	unchanged.Archives = next.Archives
	for _, m := range []snapshot.Manifest{base, next, unchanged} {
		must(t, w.catalog(on).Commit(t.Context(), m))
	}
	return base, next, unchanged
}

func (w *world) catalog(target string) *catalog.Catalog {
	i := slices.IndexFunc(w.filler.Targets, func(t backup.Target) bool { return t.Name == target })
	return w.filler.Targets[i].Catalog
}

func TestACopyTakesAlongAllThatItLeansOn(t *testing.T) {
	w := newWorld(t)
	base, next, _ := w.leaning(t, "near")
	must(t, w.catalog("near").Remove(t.Context(), base.Ref())) // its archive stays
	want(t, w.fill(t, gaps.Limits{To: []string{"far"}, Most: 1}), "3 far<near")
	keys := slices.Sorted(maps.Keys(w.objects(t, "far")))
	if len(keys) != 3 || !strings.HasSuffix(keys[0], string(base.ID)+".tar.zst") || !strings.HasSuffix(keys[1], string(next.ID)+".tar.zst") {
		t.Errorf("it was copied as %v", keys)
	}

	// What is there already, and proven, is not sent or read again.
	w.stores["near"].Faults, w.stores["far"].Faults = &faulttest.Injector{}, &faulttest.Injector{}
	want(t, w.fill(t, gaps.Limits{To: []string{"far"}}), "2 far<near")
	for _, call := range slices.Concat(w.stores["near"].Faults.Calls(), w.stores["far"].Faults.Calls()) {
		if strings.HasSuffix(call, ".tar.zst") {
			t.Errorf("there was a %s", call)
		}
	}
	w.alike(t, "near", "far")
}

// Whichever call fails, the target has no snapshot that lacks anything; and the next time it has all.
func TestACopyThatIsCutOffLacksNothing(t *testing.T) {
	for _, kind := range []faulttest.Kind{faulttest.Before, faulttest.After} {
		for at, done := 1, false; !done; at++ {
			w := newWorld(t)
			w.leaning(t, "near")
			w.stores["far"].Faults = &faulttest.Injector{At: at, Kind: kind}
			w.fill(t, gaps.Limits{To: []string{"far"}})
			done = len(w.stores["far"].Faults.Calls()) < at
			there := w.objects(t, "far")
			l, err := w.catalog("far").Volume(t.Context(), "app")
			must(t, err)
			for _, s := range l.Snapshots {
				for _, a := range s.Archives {
					ref := s.Ref()
					ref.ID = a.ID
					if there[ref.Key(a.Kind())] == "" {
						t.Errorf("%v call %d: snapshot %s lacks archive %s", kind, at, s.ID, a.ID)
					}
				}
			}
			w.fill(t, gaps.Limits{To: []string{"far"}})
			w.alike(t, "near", "far")
		}
	}
}

func TestABaseThatIsSpoiledIsNotCopied(t *testing.T) {
	w := newWorld(t)
	base, _, _ := w.leaning(t, "near")
	w.stores["near"].Alter(base.Ref().Key(snapshot.ArchiveKind), func(p []byte) []byte { p[30] ^= 1; return p })
	for _, c := range w.fill(t, gaps.Limits{To: []string{"far"}}) {
		if c.Err == nil {
			t.Errorf("snapshot %s was copied", c.Snapshot.ID)
		}
	}
	for key := range w.objects(t, "far") {
		if strings.HasSuffix(key, ".json") || strings.Contains(key, string(base.ID)) {
			t.Errorf("there is %s", key)
		}
	}
}
