package restore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/restore"
	"github.com/backupd/backupd/internal/snapshot"
)

// lean has the world's request ask for a snapshot whose archive leans on another one: package archive's golden ones.
func (w *world) lean(t *testing.T) {
	t.Helper()
	m := &w.request.Snapshot
	base := snapshot.Archive{ID: "20261101T030000Z-00000001"}
	own := snapshot.Archive{ID: m.ID}
	must(t, w.store.Delete(t.Context(), m.Ref().Key(snapshot.ArchiveKind)))
	for golden, a := range map[string]*snapshot.Archive{"leaning-base": &base, "leaning": &own} {
		data, err := os.ReadFile(filepath.Join("..", "archive", "testdata", golden+".tar.zst"))
		must(t, err)
		ref := m.Ref()
		ref.ID, a.Size = a.ID, int64(len(data))
		must(t, w.store.Put(t.Context(), ref.Key(snapshot.ArchiveKind), bytes.NewReader(data)))
		r, err := archive.Open(t.Context(), func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
			return w.store.Get(ctx, ref.Key(snapshot.ArchiveKind), off, n)
		}, a.Size, archive.ReaderOptions{})
		must(t, err)
		a.Plain, a.Directory = r.Contents().Tar, r.Contents().Directory
		r.Close()
	}
	m.Archives = []snapshot.Archive{own, base}
}

func TestASnapshotThatLeansOnAnotherIsRestored(t *testing.T) {
	w := newWorld(t)
	w.lean(t)
	for name, to := range map[string]func(dir string) (restore.Result, error){
		"all": func(dir string) (restore.Result, error) { return w.runner.ToDir(t.Context(), w.request, dir) },
		"what can be read": func(dir string) (restore.Result, error) {
			return w.runner.Salvage(t.Context(), w.request, dir)
		},
		"a part": func(dir string) (restore.Result, error) {
			req := w.request
			req.Paths = []string{"*"}
			return w.runner.ToDir(t.Context(), req, dir)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			result, err := to(dir)
			must(t, err)
			got := map[string]int{}
			for _, name := range []string{"a/first", "large", "z"} {
				data, err := os.ReadFile(filepath.Join(dir, name))
				must(t, err)
				got[name] = len(data)
			}
			if diff := cmp.Diff(map[string]int{"a/first": 3, "large": 23 * 90_000, "z": 4}, got); diff != "" || result.Report.Entries == 0 {
				t.Errorf("%+v (-want +got):\n%s", result.Report, diff)
			}
		})
	}
}

// What is damaged lies in the archive that is leaned on: what does not is restored.
func TestWhatDamageOfABaseDoesNotHitIsRestored(t *testing.T) {
	w := newWorld(t)
	w.lean(t)
	base := w.request.Snapshot.Ref()
	base.ID = w.request.Snapshot.Archives[1].ID
	w.store.Alter(base.Key(snapshot.ArchiveKind), func(p []byte) []byte { p[400] ^= 1; return p })
	if _, err := w.runner.ToDir(t.Context(), w.request, filepath.Join(t.TempDir(), "all")); !errors.Is(err, archive.ErrDamaged) {
		t.Errorf("all was restored: %v", err)
	}
	dir := t.TempDir()
	result, err := w.runner.Salvage(t.Context(), w.request, dir)
	if !errors.Is(err, archive.ErrDamaged) || result.Report.DamagedTotal == 0 {
		t.Errorf("%+v, %v", result.Report, err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "a/first")); err != nil || string(data) != "one" {
		t.Errorf("there is %q (%v)", data, err)
	}
}
