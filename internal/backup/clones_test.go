package backup_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/testenv"
)

// onClones runs a test with temporary folders, and so volumes, on each file system that can clone files.
func onClones(t *testing.T, test func(t *testing.T)) {
	for _, kind := range []string{"xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			t.Setenv("TMPDIR", testenv.FileSystem(t, kind, 512))
			t.Run("volumes", func(t *testing.T) { synctest.Test(t, test) }) // whose folders go before the file system does
		})
	}
}

// What is written once the containers run again is in no snapshot, although the volumes are larger than the spool and the target takes
// nothing yet.
func TestVolumesThatCanBeClonedAreTakenAtOneMoment(t *testing.T) {
	onClones(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		w.fill(t, "data", "large", 4<<20)
		w.fill(t, "logs", "large", 4<<20)
		gate := make(chan struct{})
		w.target("far", gated(gate))
		done := make(chan []backup.Result)
		go func() { done <- w.backup(t.Context()) }()
		time.Sleep(time.Hour) // when the backup begins
		synctest.Wait()
		if got := w.states(); !slices.Equal(got, running) {
			t.Errorf("containers are %v while the target takes nothing", got)
		}
		for _, v := range w.volumes {
			write(t, filepath.Join(v.Mountpoint, "file"), "later")
			write(t, filepath.Join(v.Mountpoint, "large"), "later")
		}
		close(gate)
		for _, r := range <-done {
			m := r.Manifest
			if r.Failure() != nil || m.Grade != snapshot.Frozen || m.HeldMS() != 0 || m.Contents.Cloned != 1 || m.Contents.Bytes < 4<<20 {
				t.Errorf("volume %s: grade %q, held for %d ms, %+v, %v", r.Volume, m.Grade, m.HeldMS(), m.Contents, r.Failure())
			}
		}
		w.checkSnapshotsOpen(t, "after a backup")
		w.checkNothingLeft(t, "after a backup")
		w.checkNoClones(t)
	})
}

// checkNoClones makes sure that beside the content of each volume there is nothing.
func (w *world) checkNoClones(t *testing.T) {
	t.Helper()
	for _, v := range w.volumes {
		beside, err := os.ReadDir(filepath.Dir(v.Mountpoint))
		if err != nil || len(beside) != 1 {
			t.Errorf("volume %s: %v lie there (%v)", v.Name, beside, err)
		}
	}
}

func TestEveryFaultWithClones(t *testing.T) {
	for _, kind := range faulttest.Kinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Setenv("TMPDIR", testenv.FileSystem(t, "xfs", 512))
			t.Run("volumes", func(t *testing.T) {
				for at, more := 1, true; more; at++ {
					synctest.Test(t, func(t *testing.T) { more = walk(t, quiesce.Pause, kind, at) })
				}
			})
		})
	}
}
