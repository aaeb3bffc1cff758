package catalog_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"filippo.io/age"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/seal"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets/memory"
)

// leaning is a store with a snapshot, one that leans on its archive, and one for which nothing had changed since that.
type leaning struct {
	store                 *memory.Store
	catalog               *catalog.Catalog
	base, next, unchanged snapshot.Manifest
}

func newLeaning(t *testing.T, encrypted bool) *leaning {
	t.Helper()
	l := &leaning{store: memory.New()}
	l.catalog = catalog.New(l.store, nil, host)
	var to seal.Recipients
	if encrypted {
		var keys *seal.Keys
		to, keys = pair(t)
		l.catalog = l.catalog.WithKeys(keys)
	}
	l.base, l.next, l.unchanged = manifest("app", 0), manifest("app", 1), manifest("app", 2)
	l.base.ID = "20261101T030000Z-00000001" // as the golden archive has it
	l.base.Archives = []snapshot.Archive{l.put(t, l.base.Ref(), "leaning-base.tar.zst", to)}
	l.next.Archives = []snapshot.Archive{l.put(t, l.next.Ref(), "leaning.tar.zst", to), l.base.Archives[0]}
	l.unchanged.Archives = l.next.Archives
	for _, m := range []snapshot.Manifest{l.base, l.next, l.unchanged} {
		must(t, l.catalog.Commit(t.Context(), m))
	}
	return l
}

// put stores one of package archive's golden archives.
func (l *leaning) put(t *testing.T, ref snapshot.Ref, golden string, to seal.Recipients) snapshot.Archive {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "archive", "testdata", golden))
	must(t, err)
	source := func(_ context.Context, off, n int64) (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(bytes.NewReader(data), off, n)), nil
	}
	r, err := archive.Open(t.Context(), source, int64(len(data)), archive.ReaderOptions{})
	must(t, err)
	defer r.Close()
	a := snapshot.Archive{ID: ref.ID, Size: int64(len(data)), Plain: r.Contents().Tar, Directory: r.Contents().Directory}
	if !to.None() {
		var sealed bytes.Buffer
		w, err := to.Writer(&sealed)
		must(t, err)
		_, err = w.Write(data)
		must(t, errors.Join(err, w.Close()))
		a.Encryption, data = snapshot.Age, sealed.Bytes()
		a.Size, a.Stored = w.Written()
	}
	must(t, l.catalog.PutArchive(t.Context(), ref, a.Kind(), bytes.NewReader(data)))
	return a
}

func pair(t *testing.T) (to seal.Recipients, keys *seal.Keys) {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	must(t, err)
	file := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(file, []byte(key.String()), 0o600))
	must(t, to.UnmarshalText([]byte(key.Recipient().String())))
	return to, seal.KeysIn(file, nil)
}

// tar is a snapshot as one tar.
func (l *leaning) tar(t *testing.T, m snapshot.Manifest) (string, error) {
	t.Helper()
	r, err := l.catalog.Open(t.Context(), m)
	if err != nil {
		return "", err
	}
	defer r.Close()
	var tar bytes.Buffer
	err = r.Tar(t.Context(), &tar)
	return tar.String(), err
}

func TestASnapshotIsReadFromAllArchivesThatItsManifestNames(t *testing.T) {
	for name, encrypted := range map[string]bool{"plain": false, "encrypted": true} {
		t.Run(name, func(t *testing.T) {
			l := newLeaning(t, encrypted)
			want, err := l.tar(t, l.base)
			must(t, err)
			for _, m := range []snapshot.Manifest{l.next, l.unchanged} {
				got, err := l.tar(t, m)
				if err != nil || got != want {
					t.Errorf("snapshot %s: a tar of %d bytes, not of %d (%v)", m.ID, len(got), len(want), err)
				}
				from, directory, err := l.catalog.Stream(t.Context(), m)
				must(t, err)
				report, err := archive.Extract(t.Context(), from, t.TempDir(), archive.ExtractOptions{Directory: directory})
				if err := errors.Join(err, from.Close()); err != nil || report.Entries != 5 {
					t.Errorf("snapshot %s: a stream of %d entries (%v)", m.ID, report.Entries, err)
				}
			}
			if l.next.StoredBytes() == 0 || l.unchanged.StoredBytes() != 0 {
				t.Errorf("they stored %d and %d bytes", l.next.StoredBytes(), l.unchanged.StoredBytes())
			}
			from, _, err := l.catalog.Stream(t.Context(), l.next)
			must(t, err)
			_, err = from.Read(make([]byte, 1))
			must(t, errors.Join(err, from.Close())) // in the middle, and nothing goes on behind it
		})
	}
}

func TestWhatASnapshotLeansOnMustBeWhatItsManifestSpeaksOf(t *testing.T) {
	for name, spoil := range map[string]func(l *leaning){
		"not named": func(l *leaning) { l.next.Archives = l.next.Archives[:1] },
		"another digest": func(l *leaning) {
			l.next.Archives = altered(l.next.Archives, func(a *snapshot.Archive) { a.Directory = sha256.Sum256(nil) })
		},
		"another size": func(l *leaning) { l.next.Archives = altered(l.next.Archives, func(a *snapshot.Archive) { a.Size++ }) },
		"gone":         func(l *leaning) { must(t, l.store.Delete(t.Context(), l.base.Ref().Key(snapshot.ArchiveKind))) },
		"another one": func(l *leaning) {
			l.store.Alter(l.base.Ref().Key(snapshot.ArchiveKind), func(p []byte) []byte { p[len(p)-30] ^= 1; return p })
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLeaning(t, false)
			spoil(l)
			if _, err := l.tar(t, l.next); !errors.Is(err, archive.ErrDamaged) {
				t.Errorf("it was read (%v)", err)
			}
		})
	}
}

// altered changes what is said of the last archive.
func altered(all []snapshot.Archive, change func(*snapshot.Archive)) []snapshot.Archive {
	all = slices.Clone(all)
	change(&all[len(all)-1])
	return all
}

// extending is a store that keeps things for some time.
type extending struct {
	*memory.Store
	extended []string
	err      error
}

func (e *extending) Extend(_ context.Context, key string) error {
	e.extended = append(e.extended, key)
	return e.err
}

func TestWhatASnapshotLeansOnIsKeptForAsLongAsItself(t *testing.T) {
	l := newLeaning(t, false)
	s := &extending{Store: l.store}
	c := catalog.New(s, nil, host)
	later := l.unchanged
	later.ID = manifest("app", 3).ID
	must(t, c.Commit(t.Context(), later))
	want := []string{l.next.Ref().Key(snapshot.ArchiveKind), l.base.Ref().Key(snapshot.ArchiveKind)}
	if !slices.Equal(s.extended, want) {
		t.Errorf("extended were %v, want %v", s.extended, want)
	}
	s.err = errors.New("not permitted")
	later.ID = manifest("app", 4).ID
	if err := c.Commit(t.Context(), later); !errors.Is(err, s.err) || len(list(t, c, "app").Snapshots) != 4 {
		t.Errorf("it was committed: %v", err)
	}
}

func TestNoSnapshotComesToBeWithoutWhatItLeansOn(t *testing.T) {
	l := newLeaning(t, false)
	must(t, l.store.Delete(t.Context(), l.base.Ref().Key(snapshot.ArchiveKind)))
	later := l.unchanged
	later.ID = manifest("app", 3).ID
	if err := l.catalog.Commit(t.Context(), later); err == nil || len(list(t, l.catalog, "app").Snapshots) != 3 {
		t.Errorf("it was committed: %v", err)
	}
}
