package catalog_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/seal"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets/memory"
)

// vault is a store with one encrypted snapshot of twelve files of 1 MiB, "0" to "11", that do not compress.
type vault struct {
	store    *memory.Store
	manifest snapshot.Manifest
	keys     *seal.Keys
	files    map[string][]byte
}

func newVault(t *testing.T) *vault {
	t.Helper()
	v := &vault{store: memory.New(), manifest: manifest("app", 1), files: map[string][]byte{}}
	dir, random := t.TempDir(), rand.NewChaCha8([32]byte{1})
	for i := range 12 {
		data := make([]byte, 1<<20)
		random.Read(data)
		v.files[strconv.Itoa(i)] = data
		must(t, os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), data, 0o600))
	}
	to, sealed := v.pair(t), bytes.Buffer{}
	w, err := to.Writer(&sealed)
	must(t, err)
	sum, err := archive.Create(t.Context(), dir, w, archive.Options{})
	must(t, err)
	must(t, w.Close())
	a := snapshot.Archive{ID: v.manifest.ID, Plain: sum.Plain, Directory: sum.Directory, Encryption: snapshot.Age}
	a.Size, a.Stored = w.Written()
	v.manifest.Archives = []snapshot.Archive{a}
	c := catalog.New(v.store, nil, host)
	must(t, c.PutArchive(t.Context(), v.manifest.Ref(), a.Kind(), &sealed))
	must(t, c.Commit(t.Context(), v.manifest))
	return v
}

func (v *vault) pair(t *testing.T) (to seal.Recipients) {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	must(t, err)
	file := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(file, []byte(key.String()), 0o600))
	v.keys = seal.KeysIn(file, nil)
	must(t, to.UnmarshalText([]byte(key.Recipient().String())))
	return to
}

func (v *vault) catalog() *catalog.Catalog { return catalog.New(v.store, nil, host).WithKeys(v.keys) }

// alter changes what is stored of the archive behind everybody's back.
func (v *vault) alter(change func([]byte) []byte) {
	v.store.Alter(v.manifest.Ref().Key(snapshot.SealedKind), change)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAFileOfAnEncryptedSnapshotTakesFewRequests(t *testing.T) {
	v := newVault(t)
	counter := &faulttest.Injector{}
	v.store.Faults = counter
	r, err := v.catalog().Open(t.Context(), v.manifest)
	must(t, err)
	defer r.Close()
	f, err := r.OpenFile(t.Context(), "7")
	must(t, err)
	got, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil || !bytes.Equal(got, v.files["7"]) {
		t.Errorf("the file differs (%v)", err)
	}
	// The beginning and the end of the archive, which has the index; and the file.
	if calls := counter.Calls(); len(calls) != 3 {
		t.Errorf("that took %q", calls)
	}
	if found, err := r.Verify(t.Context(), nil); err != nil || len(found) > 0 {
		t.Errorf("verified with %v (%v)", found, err)
	}
	if calls := counter.Calls(); len(calls) != 4 {
		t.Errorf("to read all of it took %q", calls[3:])
	}
}

func TestDamageOfAnEncryptedSnapshotHitsOnlyWhatLiesThere(t *testing.T) {
	v := newVault(t)
	v.alter(func(p []byte) []byte { p[7<<19] ^= 1; return p })
	r, err := v.catalog().Open(t.Context(), v.manifest)
	must(t, err)
	defer r.Close()
	found, err := r.Verify(t.Context(), nil)
	if err != nil || len(found) != 1 || len(found[0].Paths) != 1 {
		t.Errorf("found %+v (%v), want one damage of one file", found, err)
	}
	if err := v.catalog().VerifyStored(t.Context(), v.manifest, func(int64) {}); !errors.Is(err, archive.ErrDamaged) {
		t.Errorf("without a key, the error is %v", err)
	}
}

func TestWhatIsWrongWithAnEncryptedSnapshotIsTold(t *testing.T) {
	unread := func(err error) bool {
		_, ok := errors.AsType[*archive.SourceError](err)
		return ok && errors.Is(err, faulttest.ErrInjected)
	}
	damaged := func(err error) bool { return errors.Is(err, archive.ErrDamaged) }
	locked := func(err error) bool { return errors.Is(err, seal.ErrLocked) && !damaged(err) }
	key := manifest("app", 1).Ref().Key(snapshot.SealedKind)
	tests := map[string]struct {
		spoil func(t *testing.T, v *vault)
		is    func(error) bool
	}{
		"gone":                 {func(t *testing.T, v *vault) { must(t, v.store.Delete(t.Context(), key)) }, damaged},
		"cut off":              {func(_ *testing.T, v *vault) { v.alter(func(p []byte) []byte { return p[:len(p)-1] }) }, damaged},
		"another end":          {func(_ *testing.T, v *vault) { v.alter(func(p []byte) []byte { p[len(p)-1] ^= 1; return p }) }, damaged},
		"something else":       {func(_ *testing.T, v *vault) { v.alter(func(p []byte) []byte { return make([]byte, len(p)) }) }, damaged},
		"no key":               {func(_ *testing.T, v *vault) { v.keys = nil }, locked},
		"another key":          {func(t *testing.T, v *vault) { v.pair(t) }, locked},
		"a store that is down": {func(_ *testing.T, v *vault) { v.store.Faults = &faulttest.Injector{At: 1} }, unread},
		"another digest":       {func(_ *testing.T, v *vault) { v.manifest.Archives[0].Directory = sha256.Sum256(nil) }, damaged},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v := newVault(t)
			tt.spoil(t, v)
			r, err := v.catalog().Open(t.Context(), v.manifest)
			if err == nil {
				r.Close()
			}
			if !tt.is(err) || !strings.Contains(err.Error(), string(v.manifest.ID)) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestAnEncryptedArchiveGoesWithItsSnapshot(t *testing.T) {
	v := newVault(t)
	must(t, v.catalog().Remove(t.Context(), v.manifest.Ref()))
	if left := keys(t, v.store); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
	must(t, v.catalog().PutArchive(t.Context(), v.manifest.Ref(), snapshot.SealedKind, strings.NewReader("cut off")))
	if swept, _, err := v.catalog().Sweep(t.Context(), "app", day0.AddDate(10, 0, 0)); swept != 1 || err != nil {
		t.Errorf("swept %d (%v)", swept, err)
	}
}
