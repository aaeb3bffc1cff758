package restore_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/access"
	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/enginetest"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/restore"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets/memory"
)

// tree is what lies in a folder: files by path with their content. A path that ends in a slash is a folder.
type tree map[string]string

// stored is what the snapshot of these tests holds: enough that its archive has several frames.
var stored = tree{
	"data/base":   strings.Repeat("what was backed up ", 100_000),
	"data/empty":  "",
	"conf":        "port=1",
	"a/b/c/":      "",
	"new\nline\t": "a name that somebody wanted",
}

// world is an engine, and a store with a snapshot of the volume "app".
type world struct {
	eng     *enginetest.Fake
	store   *memory.Store
	runner  *restore.Runner
	request restore.Request
	then    restore.After
	source  string // folder that the snapshot is of
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{eng: enginetest.New(t), store: memory.New(), source: t.TempDir(), then: restore.After{Commit: true}}
	w.runner = &restore.Runner{
		Engine:    w.eng,
		Access:    access.Direct{},
		Log:       slog.New(slog.DiscardHandler),
		Exchanges: restore.Exchanges{Dir: filepath.Join(t.TempDir(), "exchanges")},
		Now:       time.Now,
	}
	w.runner.Keeper = quiesce.New(w.eng, quiesce.Options{Dir: t.TempDir(), Settle: w.keeping().Settle, Now: time.Now})
	plant(t, w.source, stored)
	must(t, os.Chmod(w.source, 0o2750))
	must(t, os.Chtimes(w.source, time.Unix(1000, 7), time.Unix(2000, 9)))
	w.request = restore.Request{From: catalog.New(w.store, nil, "web1"), Snapshot: w.takeSnapshot(t)}
	return w
}

func (w *world) keeping() restore.Keeping {
	return restore.Keeping{Exchanges: w.runner.Exchanges, Engine: w.eng, Access: w.runner.Access, Log: w.runner.Log}
}

func (w *world) inPlace(t *testing.T, v engine.Volume) (restore.Result, error) {
	t.Helper()
	return w.runner.InPlace(t.Context(), w.request, v, w.then)
}

// takeSnapshot stores the archive of the source, and gives the manifest.
func (w *world) takeSnapshot(t *testing.T) snapshot.Manifest {
	t.Helper()
	m := snapshot.Manifest{Format: snapshot.Format, ID: "20261123T030000Z-5f0c2a9e", Host: "web1", Volume: "app", Grade: snapshot.Frozen,
		Restore: snapshot.Restore{Driver: "local", Labels: map[string]string{"tier": "one"}}}
	var buf bytes.Buffer
	sum, err := archive.Create(t.Context(), w.source, &buf, archive.Options{})
	must(t, err)
	m.Archives = []snapshot.Archive{{ID: m.ID, Size: sum.Stored, Plain: sum.Plain, Directory: sum.Directory}}
	m.Contents = snapshot.Contents{Entries: sum.Entries, Bytes: sum.Bytes}
	must(t, w.store.Put(t.Context(), m.Ref().Key(snapshot.ArchiveKind), &buf))
	return m
}

// damage changes the stored archive behind everybody's back.
func (w *world) damage(change func([]byte) []byte) {
	w.store.Alter(w.request.Snapshot.Ref().Key(snapshot.ArchiveKind), change)
}

// volume makes a volume that holds something.
func (w *world) volume(t *testing.T, name string, content tree) engine.Volume {
	t.Helper()
	v := w.eng.AddVolume(engine.Volume{Name: name})
	plant(t, v.Mountpoint, content)
	return v
}

// container makes a container that mounts the volume, and says that it is well as soon as it runs.
func (w *world) container(volume string, c engine.Container, readOnly bool) engine.Container {
	c.Health = cmp.Or(c.Health, engine.Healthy)
	c.Mounts = []engine.Mount{{Volume: volume, Destination: "/data", ReadOnly: readOnly}}
	return w.eng.AddContainer(enginetest.Container{Container: c})
}

func (w *world) state(t *testing.T, c engine.Container) engine.State {
	t.Helper()
	now, err := w.eng.Operator().Container(context.WithoutCancel(t.Context()), c.ID)
	must(t, err)
	return now.State
}

// inject makes calls of engine and store fail from now on.
func (w *world) inject(faults *faulttest.Injector) { w.eng.Faults, w.store.Faults = faults, faults }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func plant(t testing.TB, dir string, content tree) {
	t.Helper()
	for name, data := range content {
		path := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			must(t, os.MkdirAll(path, 0o755))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(data), 0o640))
	}
}

// look gives all that there is to see of a folder and what is in it, by path.
func look(t testing.TB, dir string) map[string]string {
	t.Helper()
	seen := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		words := fmt.Sprintf("%v %d:%d %v", info.Mode(), st.Uid, st.Gid, info.ModTime().UTC())
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			words += fmt.Sprintf(" %d %.40q", len(data), data)
		}
		value := make([]byte, 100)
		if n, err := unix.Getxattr(path, "user.note", value); err == nil {
			words += fmt.Sprintf(" note=%q", value[:n])
		}
		name, err := filepath.Rel(dir, path)
		if strings.HasPrefix(name, ".backupd-") { // what restores keep in the volume is none of its content
			return fs.SkipDir
		}
		seen[name] = words
		return err
	}))
	return seen
}

func lookEmpty(t testing.TB, dir string) bool {
	t.Helper()
	seen := look(t, dir)
	delete(seen, ".")
	return len(maps.Collect(maps.All(seen))) == 0
}

// wantNothingLeft fails the test when a stage is left in or beside the volume's folder.
func wantNothingLeft(t testing.TB, dir string) { t.Helper(); wantLeft(t, dir, 0) }

// wantLeft fails the test when there are more stages than that.
func wantLeft(t testing.TB, dir string, most int) {
	t.Helper()
	for _, place := range []string{dir, filepath.Dir(dir)} {
		if left, _ := filepath.Glob(filepath.Join(place, ".backupd-*")); len(left) > most {
			t.Errorf("left behind: %q", left)
		}
	}
}
