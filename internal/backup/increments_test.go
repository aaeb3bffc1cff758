package backup_test

import (
	"bytes"
	"context"
	random "crypto/rand"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/bases"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/seal"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/testenv"
)

// leaning is a world in which archives lean on earlier ones. Its clock is an hour ahead, so that no change looks as if it were still going on.
func leaning(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, quiesce.Pause)
	w.volumes = w.volumes[:1]
	w.volumes[0].Retention.Value = retention.Policy{All: true}
	w.runner.Bases = bases.Bases{Dir: filepath.Join(t.TempDir(), "indexes")}
	w.runner.LeanFor = 7 * 24 * time.Hour
	w.runner.Now = func() time.Time { return time.Now().Add(time.Hour) }
	w.runner.Pruner.Now = w.runner.Now
	for i := range 40 {
		data := make([]byte, 5000) // which do not compress
		random.Read(data)
		write(t, filepath.Join(w.folder(), fmt.Sprintf("f%02d", i)), string(data))
	}
	return w
}

func (w *world) folder() string { return w.volumes[0].Mountpoint }

// run is one that has to be good, and gives the manifest.
func (w *world) run(t *testing.T) snapshot.Manifest {
	t.Helper()
	r := w.runner.Run(t.Context(), plan.Job{Volumes: w.volumes})[0]
	if err := r.Failure(); err != nil {
		t.Fatal(err)
	}
	return r.Manifest
}

// wantSame reads a snapshot back from every target, and wants just what the volume holds.
func (w *world) wantSame(t *testing.T, m snapshot.Manifest) {
	t.Helper()
	for name, target := range w.runner.Targets {
		dir := t.TempDir()
		from, directory, err := target.Catalog.Stream(t.Context(), m)
		if err == nil {
			_, err = archive.Extract(t.Context(), from, dir, archive.ExtractOptions{Directory: directory})
			from.Close()
		}
		if err != nil {
			t.Errorf("read %s back from %s: %v", m.ID, name, err)
			continue
		}
		if diff := cmp.Diff(contents(t, w.folder()), contents(t, dir)); diff != "" {
			t.Errorf("%s on %s (-want +got):\n%.2000s", m.ID, name, diff)
		}
	}
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[f.Name()] = string(data)
	}
	return all
}

func ids(m snapshot.Manifest) (all []snapshot.ID) {
	for _, a := range m.Archives {
		all = append(all, a.ID)
	}
	return all
}

func TestWhatHasNotChangedIsNotStoredAgain(t *testing.T) {
	testenv.Root(t)
	w := leaning(t)
	first := w.run(t)
	same := w.run(t)
	if diff := cmp.Diff(first.Archives, same.Archives); diff != "" || same.ID == first.ID || same.StoredBytes() != 0 || same.Contents.Bytes != first.Contents.Bytes {
		t.Errorf("nothing has changed, and the manifest is %+v", same)
	}
	w.wantSame(t, same)
	write(t, filepath.Join(w.folder(), "f07"), "changed")
	if err := os.Remove(filepath.Join(w.folder(), "f08")); err != nil {
		t.Fatal(err)
	}
	second := w.run(t)
	if !slices.Equal(ids(second), []snapshot.ID{second.ID, first.ID}) || second.StoredBytes() > first.StoredBytes()/2 {
		t.Errorf("one file has changed, and %d bytes were stored, after %d, in %v", second.StoredBytes(), first.StoredBytes(), ids(second))
	}
	w.wantSame(t, second)
	write(t, filepath.Join(w.folder(), "f09"), "changed as well")
	third := w.run(t)
	if !slices.Contains(ids(third), first.ID) || third.Archives[0].ID != third.ID {
		t.Errorf("it leans on %v", ids(third))
	}
	w.wantSame(t, third)
	for _, store := range w.stores { // nothing of the one that was not needed
		for o, err := range store.List(t.Context(), "") {
			if err != nil || strings.Contains(o.Key, string(same.ID)) && !strings.HasSuffix(o.Key, string(snapshot.ManifestKind)) {
				t.Errorf("there is %s (%v)", o.Key, err)
			}
		}
	}
}

func TestAFullArchiveIsMade(t *testing.T) {
	testenv.Root(t)
	for name, after := range map[string]func(*testing.T, *world){
		"when that is asked for":                   func(_ *testing.T, w *world) { w.runner.LeanFor = 0 },
		"when the last one is too old":             func(_ *testing.T, w *world) { w.runner.LeanFor = time.Nanosecond },
		"when a target lacks the last one":         func(t *testing.T, w *world) { empty(t, w.stores["far"]) },
		"when the index is lost":                   func(t *testing.T, w *world) { must(t, os.RemoveAll(w.runner.Bases.(bases.Bases).Dir)) },
		"when the index is damaged":                func(t *testing.T, w *world) { spoil(t, w.runner.Bases.(bases.Bases).Dir, ".index") },
		"when what describes the index is damaged": func(t *testing.T, w *world) { spoil(t, w.runner.Bases.(bases.Bases).Dir, ".json") },
		"when others are to read it":               func(t *testing.T, w *world) { w.runner.Seal = recipients(t) },
		"when the clock was set":                   func(_ *testing.T, w *world) { w.runner.Now = func() time.Time { return time.Now().Add(3 * time.Hour) } },
		"when the last one is known to be damaged": func(t *testing.T, w *world) {
			target := w.runner.Targets["near"]
			all, err := target.Catalog.Volume(t.Context(), "data")
			must(t, err)
			target.Catalog = target.Catalog.WithFound(func(_, _ string) (map[snapshot.ID]snapshot.Proof, error) {
				return map[snapshot.ID]snapshot.Proof{all.Snapshots[0].ID: {Damaged: "bits"}}, nil
			})
			w.runner.Targets["near"] = target
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := leaning(t)
			w.run(t)
			after(t, w)
			m := w.run(t)
			if !slices.Equal(ids(m), []snapshot.ID{m.ID}) {
				t.Errorf("it is read from %v", ids(m))
			}
			if w.runner.Seal.None() {
				w.wantSame(t, m)
			}
			if w.runner.LeanFor > time.Hour { // and the next one leans on that
				if again := w.run(t); !slices.Equal(ids(again), []snapshot.ID{m.ID}) {
					t.Errorf("the next one is read from %v", ids(again))
				}
			}
		})
	}
}

func empty(t *testing.T, s targets.Store) {
	t.Helper()
	for o, err := range s.List(t.Context(), "") {
		must(t, err)
		must(t, s.Delete(t.Context(), o.Key))
	}
}

// spoil flips a byte in the middle of files.
func spoil(t *testing.T, dir, end string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*"+end))
	must(t, err)
	if len(all) == 0 {
		t.Fatalf("there is no %s in %s", end, dir)
	}
	for _, path := range all {
		data, err := os.ReadFile(path)
		must(t, err)
		for i := range data {
			data[i] ^= 0x40
		}
		must(t, os.WriteFile(path, data, 0o600))
	}
}

func recipients(t *testing.T) (to seal.Recipients) {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	must(t, err)
	must(t, to.UnmarshalText([]byte(key.Recipient().String())))
	return to
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Encrypted archives lean on each other without a private key, which only reading them takes.
func TestEncryptedArchivesLeanOnEachOther(t *testing.T) {
	testenv.Root(t)
	w := leaning(t)
	w.runner.Seal = recipients(t)
	first := w.run(t)
	write(t, filepath.Join(w.folder(), "f07"), "changed")
	if second := w.run(t); !slices.Equal(ids(second), []snapshot.ID{second.ID, first.ID}) || !second.Encrypted() {
		t.Errorf("it is read from %v", ids(second))
	}
}

// Generations of changes, retention and failing calls: whatever is listed on a target at any time can be read there, and is what the volume
// held when it was taken.
func TestGenerationsThatLeanOnEachOther(t *testing.T) {
	testenv.Root(t)
	const generations = 60
	for _, seed := range []uint64{1, 2} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			chance := rand.New(rand.NewPCG(seed, 1))
			w := leaning(t)
			w.volumes[0].Retention.Value = retention.Policy{Last: 4}
			held := map[snapshot.ID]map[string]string{}
			kept, leans, same := 0, 0, 0
			for range generations {
				for range chance.IntN(4) {
					path := filepath.Join(w.folder(), fmt.Sprintf("f%02d", chance.IntN(40)))
					if chance.IntN(5) == 0 {
						_ = os.Remove(path)
					} else {
						write(t, path, strings.Repeat(fmt.Sprint(chance.Uint64()), 1+chance.IntN(400)))
					}
				}
				ctx, cancel := context.WithCancel(t.Context())
				if chance.IntN(3) == 0 {
					w.inject(&faulttest.Injector{At: 1 + chance.IntN(60), Kind: faulttest.Kinds[chance.IntN(len(faulttest.Kinds))], Cancel: cancel})
				}
				r := w.runner.Run(ctx, plan.Job{Volumes: w.volumes})[0]
				cancel()
				w.inject(nil)
				if r.Manifest.ID != "" {
					held[r.Manifest.ID] = contents(t, w.folder())
				}
				if r.Manifest.Leans() {
					leans++
				}
				if r.Manifest.ID != "" && r.Manifest.StoredBytes() == 0 {
					same++
				}
				kept += w.wantReadable(t, held)
			}
			t.Logf("%d snapshots were read back; %d runs leaned on others, %d had nothing to store", kept, leans, same)
			if leans < generations/10 || same < generations/20 {
				t.Error("that is no test")
			}
		})
	}
}

// wantReadable reads all that is listed, and gives how many those are.
func (w *world) wantReadable(t *testing.T, held map[snapshot.ID]map[string]string) (n int) {
	t.Helper()
	for place, all := range w.snapshots(t) {
		for _, s := range all {
			n++
			if err := sameAs(t, w.runner.Targets[filepath.Dir(place)].Catalog, s, held[s.ID]); err != nil {
				t.Fatalf("%s: snapshot %s, read from %v: %v", place, s.ID, ids(s.Manifest), err)
			}
		}
	}
	return n
}

func sameAs(t *testing.T, c *catalog.Catalog, s catalog.Snapshot, want map[string]string) error {
	t.Helper()
	from, directory, err := c.Stream(t.Context(), s.Manifest)
	if err != nil {
		return err
	}
	stored, err := io.ReadAll(from)
	from.Close()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err == nil {
		_, err = archive.Extract(t.Context(), bytes.NewReader(stored), dir, archive.ExtractOptions{Directory: directory})
	}
	if err != nil {
		return err
	}
	if diff := cmp.Diff(want, contents(t, dir)); diff != "" {
		return fmt.Errorf("(-want +got):\n%.2000s", diff)
	}
	return os.RemoveAll(dir)
}
