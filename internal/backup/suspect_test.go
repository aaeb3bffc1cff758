package backup_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/recognise"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/memory"
)

// cluster makes of a volume what looks like PostgreSQL's.
func (w *world) cluster(t *testing.T, volume string) (folder string) {
	t.Helper()
	i := slices.IndexFunc(w.volumes, func(v plan.Volume) bool { return v.Name == volume })
	folder = filepath.Join(w.volumes[i].Mountpoint, "15", "main")
	if err := os.MkdirAll(filepath.Join(folder, "global"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "PG_VERSION"), "15\n")
	write(t, filepath.Join(folder, "global", "pg_control"), "?")
	return folder
}

func TestDatabasesAreRecorded(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(t *testing.T, w *world)
		want    []recognise.Find
	}{
		"in the open": {func(*testing.T, *world) {}, []recognise.Find{{Kind: recognise.PostgreSQL, Folder: "15/main", Version: "15"}}},
		"encrypted":   {func(t *testing.T, w *world) { w.encrypt(t) }, []recognise.Find{{Kind: recognise.PostgreSQL}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, quiesce.Pause)
				w.cluster(t, "data")
				w.volumes = w.volumes[:1]
				test.prepare(t, w)
				m := w.one(t).Manifest
				if diff := cmp.Diff(test.want, m.Contents.Databases); diff != "" {
					t.Error("databases (-want +got):\n" + diff)
				}
				stored := w.stored(t, "near", m.Ref(), snapshot.ManifestKind)
				if m.Encrypted() && (bytes.Contains(stored, []byte("main")) || !bytes.Contains(stored, []byte("postgresql"))) {
					t.Errorf("not the kind alone is in %s", stored)
				}
			})
		})
	}
}

func TestAVolumeThatHasLostItsDatabaseIsSuspectUntilThatIsAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		folder := w.cluster(t, "data")
		w.volumes = w.volumes[:1]
		backup := func() backup.Result {
			time.Sleep(time.Hour)
			return w.backup(t.Context())[0]
		}
		for range 4 {
			if r := backup(); r.Failure() != nil {
				t.Fatal(r.Failure())
			}
		}
		if err := os.Remove(filepath.Join(folder, "global", "pg_control")); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			r := backup()
			if r.Stored() || !r.Settled() || r.Err == nil || !strings.Contains(r.Err.Error(), "postgresql") || !strings.Contains(r.Err.Error(), "--accept") {
				t.Errorf("without its database: stored %v, settled %v, %v", r.Stored(), r.Settled(), r.Err)
			}
		}
		w.runner.AllowEmpty = true // which says nothing of a database
		if r := backup(); r.Stored() {
			t.Error("that it may be empty was taken for more")
		}
		w.runner.AllowEmpty, w.runner.Accept = false, true
		if r := backup(); !r.Stored() || r.Failure() != nil || !strings.Contains(r.Manifest.Accepted, "postgresql") {
			t.Errorf("accepted: stored %v, %v, accepted is %q", r.Stored(), r.Failure(), r.Manifest.Accepted)
		}
		w.runner.Accept = false
		if r := backup(); !r.Stored() || r.Failure() != nil || r.Manifest.Accepted != "" {
			t.Errorf("after it was accepted: stored %v, %v", r.Stored(), r.Failure())
		}
	})
}

func TestRetentionKeepsTheNewestGoodHoweverManySuspectOnesFollow(t *testing.T) {
	for name, spoil := range map[string]func(file string) error{
		"empty":  os.Remove,
		"shrunk": func(file string) error { return os.Truncate(file, 10<<10) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, quiesce.Pause) // whose policy is last=1
				w.fill(t, "data", "file", 4<<20)
				w.volumes = w.volumes[:1]
				good := w.one(t).Manifest.ID
				if err := spoil(filepath.Join(w.volumes[0].Mountpoint, "file")); err != nil {
					t.Fatal(err)
				}
				var last snapshot.ID
				for range 20 {
					time.Sleep(24 * time.Hour)
					r := w.backup(t.Context())[0]
					if last = r.Manifest.ID; r.Stored() || r.Manifest.Suspect == "" {
						t.Fatalf("%+v is not suspect", r.Manifest)
					}
				}
				for place, snapshots := range w.snapshots(t) {
					if len(snapshots) != 2 || snapshots[0].ID != good || snapshots[1].ID != last {
						t.Errorf("%s has %d snapshots; want the good one, %s, and the last of the suspect ones, %s", place, len(snapshots), good, last)
					}
				}
				w.runner.Accept = true
				accepted := w.one(t).Manifest.ID
				for place, snapshots := range w.snapshots(t) {
					if len(snapshots) != 1 || snapshots[0].ID != accepted {
						t.Errorf("%s has %d snapshots; want the one that was accepted, %s", place, len(snapshots), accepted)
					}
				}
			})
		})
	}
}

// What a target that was down has missed is not forgotten in the history: all targets together have it.
func TestTheHistoryIsOfAllTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		folder := w.cluster(t, "data")
		w.volumes = w.volumes[:1]
		w.target("far", refusing)
		w.runner.AnyTarget = true
		if r := w.backup(t.Context())[0]; !r.Stored() {
			t.Fatal(r.Failure())
		}
		w.target("far", func(s *memory.Store) targets.Store { return s })
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		if r := w.backup(t.Context())[0]; r.Manifest.Suspect == "" {
			t.Error("what one target alone has seen is forgotten")
		}
	})
}
