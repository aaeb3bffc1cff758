package restore_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/enginetest"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/testenv"
)

// TestAFullDiskAtEveryStageOfARestore restores with room for one block, or file, more each time, until there is enough. What did not fit
// has left everything as it was.
func TestAFullDiskAtEveryStageOfARestore(t *testing.T) {
	for what, leave := range map[string]func(testenv.Disk, int){"blocks": testenv.Disk.LeaveBlocks, "files": testenv.Disk.LeaveFiles} {
		for name, attempt := range map[string]func(*testing.T, *world, testenv.Disk, func()) error{
			"to a folder": toFolder, "in place, beside": exchange("local"), "in place, inside": exchange("dir"),
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				room := 0
				for enough := false; !enough; room++ {
					disk := testenv.SmallDisk(t, 1024, 60)
					w := newWorld(t)
					w.manyFiles(t)
					err := attempt(t, w, disk, func() { leave(disk, room) })
					if enough = err == nil; enough {
						break
					}
					if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), disk.Dir) {
						t.Errorf("room for %d: %v: want it to say that there is no room, and where", room, err)
					}
					disk.Empty()
					must(t, attempt(t, w, disk, func() {}))
				}
				if room < 5 {
					t.Errorf("room for %d was enough: that is no test", room)
				}
			})
		}
	}
}

// manyFiles makes the snapshot one that takes blocks on disk which the tar's size does not tell of: early refusal is not all there is.
func (w *world) manyFiles(t *testing.T) {
	t.Helper()
	must(t, os.RemoveAll(w.source))
	files := tree{}
	for i := range 10 {
		data := make([]byte, 4097)
		rand.Read(data)
		files[fmt.Sprintf("%d/file", i%5)+fmt.Sprint(i)] = string(data)
	}
	plant(t, w.source, files)
	must(t, w.store.Delete(t.Context(), w.request.Snapshot.Ref().Key(snapshot.ArchiveKind)))
	w.request.Snapshot = w.takeSnapshot(t)
}

func toFolder(t *testing.T, w *world, disk testenv.Disk, fill func()) error {
	dir := filepath.Join(disk.Path("parent"), "out")
	fill()
	_, err := w.runner.ToDir(t.Context(), w.request, dir)
	if err != nil {
		if _, err := os.Lstat(dir); !os.IsNotExist(err) {
			t.Errorf("the folder is there (%v)", err)
		}
		return err
	}
	if diff := cmp.Diff(look(t, w.source), look(t, dir)); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
	return nil
}

func exchange(driver string) func(*testing.T, *world, testenv.Disk, func()) error {
	return func(t *testing.T, w *world, disk testenv.Disk, fill func()) error {
		v := engine.Volume{Name: "app", Driver: driver, Mountpoint: filepath.Join(disk.Path("app"), "_data")}
		if _, err := os.Lstat(v.Mountpoint); err != nil {
			must(t, os.Mkdir(v.Mountpoint, 0o755))
			plant(t, v.Mountpoint, old)
			w.eng.AddContainer(enginetest.Container{Container: engine.Container{Name: "db", Health: engine.Healthy, Mounts: []engine.Mount{{Volume: "app", Destination: "/data"}}}})
		}
		before := look(t, v.Mountpoint)
		fill()
		_, err := w.inPlace(t, v)
		wantNothingLeft(t, v.Mountpoint)
		wantRunning(t, w)
		want := before
		if err == nil {
			want = look(t, w.source)
		}
		if diff := cmp.Diff(want, look(t, v.Mountpoint)); diff != "" {
			t.Errorf("content after %v (-want +got):\n%s", err, diff)
		}
		return err
	}
}

func wantRunning(t *testing.T, w *world) {
	t.Helper()
	containers, err := w.eng.Operator().Containers(t.Context())
	must(t, err)
	for _, c := range containers {
		if c.State != engine.Running {
			t.Errorf("container %s is %s", c.Name, c.State)
		}
	}
}
