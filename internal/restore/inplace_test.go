package restore_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/enginetest"
	"github.com/backupd/backupd/internal/testenv"
)

var old = tree{"data/base": "live", "conf": "port=2", "only/in/the/old": "1"}

func TestInPlaceReplacesAllAndMergesNothing(t *testing.T) {
	for name, driver := range map[string]string{"with the stage beside": "local", "with the stage inside": "dir"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			v := w.volume(t, "app", old)
			v.Driver = driver
			must(t, os.Chmod(v.Mountpoint, 0o700))
			note(t, v.Mountpoint)
			result, err := w.inPlace(t, v)
			must(t, err)
			if diff := cmp.Diff(look(t, w.source), look(t, v.Mountpoint)); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
			if result.Report.Bytes != w.request.Snapshot.Contents.Bytes || result.Kept != "" {
				t.Errorf("result is %+v", result)
			}
			wantNothingLeft(t, v.Mountpoint)
		})
	}
}

// note gives a folder an extended attribute, where the file system has them.
func note(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Setxattr(dir, "user.note", []byte("old"), 0); err != nil && err != unix.ENOTSUP {
		t.Fatal(err)
	}
}

func TestInPlaceStopsAllThatMountTheVolume(t *testing.T) {
	w := newWorld(t)
	v := w.volume(t, "app", old)
	running := []engine.Container{
		w.container("app", engine.Container{Name: "db", StopTimeout: time.Second}, false),
		w.container("app", engine.Container{Name: "reader", StopTimeout: time.Second}, true),
	}
	bystander := w.container("other", container("bystander"), false)
	was := w.container("app", exited("migration"), false)
	seen := map[string]string{}
	for _, c := range running {
		w.eng.RemoveContainer(c.ID)
		w.eng.AddContainer(enginetest.Container{Container: c, OnStop: func() {
			data, err := os.ReadFile(filepath.Join(v.Mountpoint, "conf"))
			if err != nil {
				data = []byte(err.Error())
			}
			seen[c.Name] = string(data)
		}})
	}
	result, err := w.inPlace(t, v)
	must(t, err)
	if diff := cmp.Diff(map[string]string{"db": "port=2", "reader": "port=2"}, seen); diff != "" {
		t.Errorf("what was in the volume when each was stopped (-want +got):\n%s", diff)
	}
	for _, c := range append(running, bystander) {
		if state := w.state(t, c); state != engine.Running {
			t.Errorf("%s is %s", c.Name, state)
		}
	}
	if state := w.state(t, was); state != engine.Exited {
		t.Errorf("%s, which did not run, is %s", was.Name, state)
	}
	if len(result.Held.Held) != 2 {
		t.Errorf("held: %v", result.Held.Held)
	}
}

func TestInPlaceRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		around func(*world)
		want   string
	}{
		"what a stop would delete":    {func(w *world) { w.container("app", engine.Container{Name: "once", AutoRemove: true}, true) }, `"once"`},
		"what somebody paused":        {func(w *world) { w.container("app", engine.Container{Name: "db", State: engine.Paused}, false) }, "unpause or stop it first"},
		"parts that it has none of":   {func(w *world) { w.request.Paths = []string{"nowhere/*"} }, "nothing in it matches"},
		"more than the disk has":      {func(w *world) { w.request.Snapshot.Archives[0].Plain = 1 << 62 }, "no space left"},
		"an engine that is not there": {func(w *world) { w.eng.Down() }, "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			v := w.volume(t, "app", old)
			db := w.container("app", engine.Container{Name: "app", StopTimeout: time.Second}, false)
			before := look(t, v.Mountpoint)
			c.around(w)
			if _, err := w.inPlace(t, v); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v", err)
			}
			if diff := cmp.Diff(before, look(t, v.Mountpoint)); diff != "" {
				t.Errorf("the volume changed (-before +after):\n%s", diff)
			}
			w.eng.Up()
			if now, err := w.eng.Container(t.Context(), db.ID); err != nil || !now.Started.Equal(db.Started) {
				t.Errorf("a container was stopped for nothing: %v (%v)", now.State, err)
			}
			wantNothingLeft(t, v.Mountpoint)
		})
	}
}

func TestInPlaceIfEmpty(t *testing.T) {
	w := newWorld(t)
	w.request.IfEmpty = true
	full, empty := w.volume(t, "full", old), w.volume(t, "empty", nil)
	if result, err := w.inPlace(t, full); err != nil || !result.Left {
		t.Errorf("one that is not empty: %+v, %v", result, err)
	}
	if result, err := w.inPlace(t, empty); err != nil || result.Left || lookEmpty(t, empty.Mountpoint) {
		t.Errorf("one that is empty: %+v, %v", result, err)
	}
}

// TestAnExchangeThatFailsMidwayIsUndone has something in the volume that cannot be renamed, whatever comes before and after it.
func TestAnExchangeThatFailsMidwayIsUndone(t *testing.T) {
	testenv.Root(t)
	for name, nail := range map[string]func(t *testing.T, dir string){
		"an immutable file": func(t *testing.T, dir string) { makeImmutable(t, filepath.Join(dir, "nailed")) },
		"a mount": func(t *testing.T, dir string) {
			must(t, os.Mkdir(filepath.Join(dir, "nailed"), 0o755))
			if err := unix.Mount("tmpfs", filepath.Join(dir, "nailed"), "tmpfs", 0, "size=64k"); err != nil {
				testenv.Missing(t, "the right to mount", err.Error())
			}
			t.Cleanup(func() { must(t, unix.Unmount(filepath.Join(dir, "nailed"), unix.MNT_DETACH)) })
		},
	} {
		for _, driver := range []string{"local", "dir"} {
			t.Run(name+"/"+driver, func(t *testing.T) {
				w := newWorld(t)
				v := w.volume(t, "app", tree{"a": "1", "b/c": "2", "y": "3", "z/": ""})
				v.Driver = driver
				must(t, os.Chmod(v.Mountpoint, 0o711))
				nail(t, v.Mountpoint)
				db := w.container("app", engine.Container{Name: "db", StopTimeout: time.Second}, false)
				before := look(t, v.Mountpoint)
				_, err := w.inPlace(t, v)
				if err == nil || !strings.Contains(err.Error(), "nailed") {
					t.Errorf("error is %v", err)
				}
				after := look(t, v.Mountpoint)
				if driver == "dir" { // making the stage in it has moved its time
					delete(before, ".")
					delete(after, ".")
				}
				if diff := cmp.Diff(before, after); diff != "" {
					t.Errorf("the volume changed (-before +after):\n%s", diff)
				}
				if state := w.state(t, db); state != engine.Running {
					t.Errorf("db is %s", state)
				}
				wantNothingLeft(t, v.Mountpoint)
			})
		}
	}
}

// immutable is FS_IMMUTABLE_FL of linux/fs.h: see ioctl_iflags(2).
const immutable = 0x10

func makeImmutable(t *testing.T, path string) {
	t.Helper()
	must(t, os.WriteFile(path, nil, 0o600))
	f, err := os.Open(path)
	must(t, err)
	t.Cleanup(func() {
		must(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, 0))
		must(t, f.Close())
	})
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, immutable); err != nil {
		testenv.Missing(t, "a file system with immutable files at "+os.TempDir(), err.Error())
	}
}

func TestOldDataThatCannotBeRemovedIsTold(t *testing.T) {
	testenv.Root(t)
	w := newWorld(t)
	v := w.volume(t, "app", tree{"sub/": ""})
	makeImmutable(t, filepath.Join(v.Mountpoint, "sub", "nailed"))
	result, err := w.inPlace(t, v)
	must(t, err)
	if _, err := os.Lstat(filepath.Join(result.Kept, "content", "sub", "nailed")); err != nil {
		t.Errorf("the old data is said to be in %q: %v", result.Kept, err)
	}
	if diff := cmp.Diff(look(t, w.source), look(t, v.Mountpoint)); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
}

// TestAVolumeThatGoesWithItsContainers is of NFS and the like, which the engine unmounts with the last container: what shows then is an
// empty folder of the engine.
func TestAVolumeThatGoesWithItsContainers(t *testing.T) {
	w := newWorld(t)
	v := w.volume(t, "app", old)
	mounted := v.Mountpoint + "-while-unmounted"
	c := engine.Container{Name: "db", StopTimeout: time.Second, Mounts: []engine.Mount{{Volume: "app", Destination: "/data"}}}
	w.eng.AddContainer(enginetest.Container{Container: c, OnStop: func() {
		must(t, os.Rename(v.Mountpoint, mounted))
		must(t, os.Mkdir(v.Mountpoint, 0o755))
	}})
	before := look(t, v.Mountpoint)
	if _, err := w.inPlace(t, v); err == nil || !strings.Contains(err.Error(), "only mounted while") {
		t.Errorf("error is %v", err)
	}
	if !lookEmpty(t, v.Mountpoint) {
		t.Error("the data went into the folder below the mount")
	}
	if diff := cmp.Diff(before, look(t, mounted)); diff != "" {
		t.Errorf("the volume changed (-before +after):\n%s", diff)
	}
}
