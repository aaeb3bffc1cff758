package bases_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/bases"
	"github.com/backupd/backupd/internal/snapshot"
)

// keep keeps the index of an archive of a folder.
func keep(t *testing.T, b bases.Bases, volume string) bases.Kept {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), []byte(volume), 0o600))
	d, err := b.Begin("web1", volume)
	must(t, err)
	defer d.Drop()
	tap := archive.NewTap(io.Discard, d)
	sum, err := archive.Create(t.Context(), dir, tap, archive.Options{})
	must(t, err)
	k := bases.Kept{
		Archives: []snapshot.Archive{{ID: "20261123T030000Z-5f0c2a9e", Size: sum.Stored, Directory: sum.Directory}},
		Plain:    sum.Stored, Data: tap.Data(), Recipients: "those",
	}
	must(t, d.Keep(k))
	return k
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatWasKeptIsOpened(t *testing.T) {
	b := bases.Bases{Dir: filepath.Join(t.TempDir(), "indexes")}
	if _, err := b.Open(t.Context(), "web1", "app"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before anything was kept: %v", err)
	}
	long := strings.Repeat("\xff", 255)
	keep(t, b, "app")
	keep(t, b, "app") // in the place of the other
	want := keep(t, b, long)
	for _, volume := range []string{"app", long} {
		base, err := b.Open(t.Context(), "web1", volume)
		must(t, err)
		if base.Recipients != "those" || len(base.Archives) != 1 || volume == long && base.Archives[0] != want.Archives[0] {
			t.Errorf("%.10q: %+v", volume, base)
		}
		must(t, base.Close())
	}
	if left, err := os.ReadDir(b.Dir); err != nil || len(left) != 4 {
		t.Errorf("there are %d files, %v", len(left), err)
	}
	if _, err := b.Open(t.Context(), "web2", "app"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of another host: %v", err)
	}
}

func TestWhatWasNotKeptLeavesNothing(t *testing.T) {
	b := bases.Bases{Dir: t.TempDir()}
	keep(t, b, "app")
	before, err := os.ReadDir(b.Dir)
	must(t, err)
	d, err := b.Begin("web1", "app")
	must(t, err)
	_, err = d.Write(bytes.Repeat([]byte{1}, 1000))
	must(t, err)
	d.Drop()
	d.Drop()
	if after, err := os.ReadDir(b.Dir); err != nil || len(after) != len(before) {
		t.Errorf("there are %d files, %v", len(after), err)
	}
	base, err := b.Open(t.Context(), "web1", "app")
	must(t, err)
	must(t, base.Close())
}

// Whatever is wrong with a file of it, it is an error, and opens nothing else.
func TestWhatIsDamagedIsNotBelieved(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, index, kept string){
		"the index is gone":    func(t *testing.T, index, _ string) { must(t, os.Remove(index)) },
		"the index is cut off": func(t *testing.T, index, _ string) { must(t, os.Truncate(index, 50)) },
		"the index is empty":   func(t *testing.T, index, _ string) { must(t, os.Truncate(index, 0)) },
		"a link": func(t *testing.T, _, kept string) {
			must(t, errors.Join(os.Rename(kept, kept+"2"), os.Symlink(kept+"2", kept)))
		},
		"rubbish":        func(t *testing.T, _, kept string) { must(t, os.WriteFile(kept, []byte("{"), 0o600)) },
		"another format": func(t *testing.T, _, kept string) { change(t, kept, "backupd base 1", "backupd base 2") },
		"another place": func(t *testing.T, index, kept string) {
			change(t, kept, filepath.Base(index), "../"+filepath.Base(index))
		},
		"another digest":  func(t *testing.T, _, kept string) { change(t, kept, `"directory":"`, `"directory":"00`) },
		"no archives":     func(t *testing.T, _, kept string) { change(t, kept, `"archives":[`, `"archives":[],"x":[`) },
		"a negative size": func(t *testing.T, _, kept string) { change(t, kept, `"data":`, `"data":-`) },
	} {
		t.Run(name, func(t *testing.T) {
			b := bases.Bases{Dir: t.TempDir()}
			keep(t, b, "app")
			index, err := filepath.Glob(filepath.Join(b.Dir, "*.index"))
			must(t, err)
			kept, err := filepath.Glob(filepath.Join(b.Dir, "*.json"))
			must(t, err)
			harm(t, index[0], kept[0])
			if base, err := b.Open(t.Context(), "web1", "app"); err == nil {
				t.Errorf("it gives %+v", base)
			}
			keep(t, b, "app") // is mended by the next
			base, err := b.Open(t.Context(), "web1", "app")
			must(t, err)
			must(t, base.Close())
		})
	}
}

func change(t *testing.T, path, from, to string) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Contains(data, []byte(from)) {
		t.Fatalf("%s has no %q: %s", path, from, data)
	}
	must(t, os.WriteFile(path, bytes.Replace(data, []byte(from), []byte(to), 1), 0o600))
}
