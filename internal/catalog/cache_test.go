package catalog_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets/memory"
)

// remote is a store that is far away, with a cache near by.
type remote struct {
	*memory.Store
	*catalog.Catalog
	dir string // of the cache
}

func newRemote(t *testing.T) *remote {
	r := &remote{Store: memory.New(), dir: filepath.Join(t.TempDir(), "cache")}
	r.Catalog = catalog.New(r.Store, catalog.NewCache(r.dir), host)
	store(t, r.Catalog, "app", 1, 2, 3)
	store(t, r.Catalog, "b/c\n", 1)
	return r
}

// fetched lists everything, which are so many snapshots, and gives how many manifests were read from the store.
func (r *remote) fetched(t *testing.T, want int) (gets int) {
	t.Helper()
	r.Faults = &faulttest.Injector{}
	l, err := r.All(t.Context())
	if err != nil || l.Err() != nil || len(l.Snapshots) != want {
		t.Fatalf("listed %v, want %d snapshots: %v, %v", ids(l), want, err, l.Err())
	}
	for _, call := range r.Faults.Calls() {
		if strings.HasPrefix(call, "get") {
			gets++
		}
	}
	return gets
}

func (r *remote) files(t *testing.T) (paths []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(r.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestEachManifestIsFetchedOnce(t *testing.T) {
	r := newRemote(t)
	if cold, warm := r.fetched(t, 4), r.fetched(t, 4); cold != 4 || warm != 0 {
		t.Errorf("fetched %d cold and %d warm, want 4 and 0", cold, warm)
	}
	store(t, r.Catalog, "app", 4)
	if n, again := r.fetched(t, 5), r.fetched(t, 5); n != 1 || again != 0 {
		t.Errorf("a new snapshot cost %d fetches and then %d, want 1 and 0", n, again)
	}
}

// What is removed by whomever is not listed, and leaves nothing in the cache.
func TestTheCacheMakesNothingExist(t *testing.T) {
	r := newRemote(t)
	r.fetched(t, 4)
	for _, m := range []snapshot.Manifest{manifest("app", 2), manifest("b/c\n", 1)} {
		if err := r.Store.Delete(t.Context(), m.Ref().Key(snapshot.ManifestKind)); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.fetched(t, 2); n != 0 {
		t.Errorf("fetched %d", n)
	}
	files := r.files(t)
	if len(files) != 1 {
		t.Fatalf("files %q are left in the cache", files)
	}
	if text, err := os.ReadFile(files[0]); err != nil || strings.Contains(string(text), string(manifest("app", 2).ID)) {
		t.Errorf("the cache still has what was removed (%v):\n%s", err, text)
	}
}

// Whatever has become of the cache costs fetches, and no more. No byte of it can be changed unseen.
func TestADamagedCache(t *testing.T) {
	for name, do := range map[string]func(path string) error{
		"one byte": func(path string) error { return edit(path, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }) },
		"cut off":  func(path string) error { return edit(path, func(b []byte) []byte { return b[:len(b)/2] }) },
		"empty":    func(path string) error { return os.Truncate(path, 0) },
		"huge":     func(path string) error { return os.Truncate(path, 1<<40) },
		"a folder": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"a link":   func(path string) error { return errors.Join(os.Remove(path), os.Symlink("/dev/zero", path)) },
		"of others": func(path string) error {
			return edit(path, func(b []byte) []byte { return bytes.Replace(b, []byte(host), []byte("web2"), 1) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemote(t)
			r.fetched(t, 4)
			for _, path := range r.files(t) {
				if err := do(path); err != nil {
					t.Fatal(err)
				}
			}
			if n := r.fetched(t, 4); n == 0 {
				t.Error("the damage was not seen")
			}
			if n := r.fetched(t, 4); n != 0 && name != "a folder" {
				t.Errorf("it was not mended: %d fetches", n)
			}
		})
	}
}

func edit(path string, change func([]byte) []byte) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, change(text), 0o600)
}

// A manifest that cannot be read is asked for each time, and told of; what was known of others stays.
func TestTheCacheKeepsNothingUnreadable(t *testing.T) {
	r := newRemote(t)
	r.fetched(t, 4)
	key := manifest("app", 9).Ref().Key(snapshot.ManifestKind)
	put(t, r.Store, key, "no manifest")
	for range 2 {
		r.Faults = &faulttest.Injector{}
		l, err := r.Volume(t.Context(), "app")
		if err != nil || len(l.Snapshots) != 3 || len(l.Unreadable) != 1 {
			t.Errorf("listed %v, and %d unreadable (%v)", ids(l), len(l.Unreadable), err)
		}
		if calls := strings.Join(r.Faults.Calls(), "\n"); strings.Count(calls, "get") != 1 {
			t.Errorf("calls:\n%s", calls)
		}
	}
}
