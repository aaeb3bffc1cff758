package restore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/enginetest"
	"github.com/backupd/backupd/internal/folder"
	"github.com/backupd/backupd/internal/restore"
)

// both tests with the stage beside the volume's folder, and in it.
func both(t *testing.T, test func(t *testing.T, w *world, v engine.Volume)) {
	for name, driver := range map[string]string{"beside": "local", "inside": "dir"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.then = restore.After{}
			v := w.volume(t, "app", old)
			v.Driver = driver
			test(t, w, v)
		})
	}
}

func wantContent(t *testing.T, what string, v engine.Volume, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, look(t, v.Mountpoint)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestUndo(t *testing.T) {
	both(t, func(t *testing.T, w *world, v engine.Volume) {
		before := look(t, v.Mountpoint)
		if _, err := w.runner.Undo(t.Context(), v, false); !errors.Is(err, restore.ErrNothingKept) {
			t.Errorf("before there was anything to undo: %v", err)
		}
		db := w.container("app", engine.Container{Name: "db", StopTimeout: time.Second}, false)
		result, err := w.inPlace(t, v)
		must(t, err)
		if info, err := os.Stat(result.Kept); err != nil || !info.IsDir() {
			t.Errorf("what was replaced is kept in %q: %v", result.Kept, err)
		}
		plant(t, v.Mountpoint, tree{"written/since": "x"})
		restored := look(t, v.Mountpoint)
		result, err = w.runner.Undo(t.Context(), v, false)
		must(t, err)
		wantContent(t, "undone", v, before)
		if now, err := w.eng.Container(t.Context(), db.ID); err != nil || len(result.Held.Held) != 1 || now.Started.Equal(db.Started) {
			t.Errorf("the container was not stopped for it: %+v, %v", result.Held, err)
		}
		_, err = w.runner.Undo(t.Context(), v, true)
		must(t, err)
		wantContent(t, "undone, and again", v, restored)
		_, err = w.runner.Undo(t.Context(), v, false)
		must(t, err)
		wantContent(t, "undone once more", v, before)
	})
}

// One who tries out several snapshots gets back to what there was at first.
func TestUndoGoesBackOverAllRestores(t *testing.T) {
	both(t, func(t *testing.T, w *world, v engine.Volume) {
		before := look(t, v.Mountpoint)
		_, err := w.inPlace(t, v)
		must(t, err)
		plant(t, v.Mountpoint, tree{"between": "x"})
		between := look(t, v.Mountpoint)
		time.Sleep(20 * time.Millisecond) // a kernel's clock has a grain
		_, err = w.inPlace(t, v)
		must(t, err)
		_, err = w.runner.Undo(t.Context(), v, false)
		must(t, err)
		wantContent(t, "the last is undone", v, between)
		_, err = w.runner.Undo(t.Context(), v, false)
		must(t, err)
		wantContent(t, "both are undone", v, before)
		if _, err := w.runner.Undo(t.Context(), v, false); !errors.Is(err, restore.ErrNothingKept) {
			t.Errorf("and there is more to undo: %v", err)
		}
	})
}

func TestWhatWasReplacedGoes(t *testing.T) {
	both(t, func(t *testing.T, w *world, v engine.Volume) {
		began := time.Now().Add(-time.Minute)
		_, err := w.inPlace(t, v)
		must(t, err)
		all, err := w.runner.Exchanges.All()
		must(t, err)
		if len(all) != 1 || all[0].Pending || all[0].Volume != "app" {
			t.Fatalf("remembered is %+v", all)
		}
		must(t, w.keeping().Drop(t.Context(), all[0], began))
		if _, err := w.runner.Undo(t.Context(), v, false); err != nil {
			t.Errorf("what is younger is gone: %v", err)
		}
		must(t, w.keeping().Drop(t.Context(), all[0], time.Now().Add(time.Minute)))
		wantNothingLeft(t, v.Mountpoint)
		if all, err := w.runner.Exchanges.All(); len(all) > 0 || err != nil {
			t.Errorf("remembered is %+v, %v", all, err)
		}
	})
}

func TestAPartGoesAmongWhatIsThere(t *testing.T) {
	both(t, func(t *testing.T, w *world, v engine.Volume) {
		before := look(t, v.Mountpoint)
		w.request.Paths = []string{"data/base", "a"}
		_, err := w.inPlace(t, v)
		must(t, err)
		want, from := look(t, v.Mountpoint), look(t, w.source)
		for _, same := range []string{"data/base", "a", "a/b", "a/b/c"} {
			if want[same] != from[same] || want[same] == "" {
				t.Errorf("%s is %s, and not %s", same, want[same], from[same])
			}
		}
		for _, kept := range []string{"conf", "only/in/the/old"} {
			if want[kept] != before[kept] {
				t.Errorf("%s is %s, and was %s", kept, want[kept], before[kept])
			}
		}
		_, err = w.runner.Undo(t.Context(), v, false)
		must(t, err)
		after := look(t, v.Mountpoint)
		for _, touched := range []string{".", "data"} { // their times
			delete(before, touched)
			delete(after, touched)
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("undone (-want +got):\n%s", diff)
		}
	})
}

// A container may end on what was restored, over and over, or say that it is not well.
func TestWhatIsNotWellIsToldOrTakenBack(t *testing.T) {
	for name, c := range map[string]struct {
		container engine.Container
		undo      bool
		want      string
	}{
		"well":                     {container: engine.Container{Health: engine.Healthy}},
		"well, without a check":    {container: engine.Container{}},
		"not well":                 {container: engine.Container{Health: "unhealthy"}, want: "is unhealthy (not within 2m0s)"},
		"not well, and taken back": {container: engine.Container{Health: "unhealthy"}, undo: true, want: "is unhealthy (not within 2m0s)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.then = restore.After{UndoIfUnhealthy: c.undo}
				v := w.volume(t, "app", old)
				before, wanted := look(t, v.Mountpoint), look(t, w.source)
				c.container.Name, c.container.StopTimeout = "db", time.Second
				c.container.Mounts = []engine.Mount{{Volume: "app", Destination: "/data"}}
				w.eng.AddContainer(enginetest.Container{Container: c.container})
				result, err := w.inPlace(t, v)
				switch {
				case c.undo:
					if !errors.Is(err, restore.ErrUnhealthy) || !result.Undone || !strings.Contains(err.Error(), c.want) {
						t.Errorf("error %v, undone: %v", err, result.Undone)
					}
					wantContent(t, "taken back", v, before)
				case err != nil, (c.want == "") != (len(result.Unhealthy) == 0), c.want != "" && !strings.Contains(result.Unhealthy[0], c.want):
					t.Errorf("unhealthy: %q, %v", result.Unhealthy, err)
				default:
					wantContent(t, "restored", v, wanted)
				}
			})
		})
	}
}

// What a restore was exchanging that died is settled before its containers run again; and while it cannot be, they stay stopped.
func TestContainersOfAnUnsettledVolumeStayStopped(t *testing.T) {
	w := newWorld(t)
	v := w.volume(t, "app", old)
	db := w.container("app", engine.Container{Name: "db", StopTimeout: time.Second}, false)
	left := filepath.Join(filepath.Dir(v.Mountpoint), ".backupd-exchange-1")
	must(t, errors.Join(os.Mkdir(left, 0o700), w.runner.Exchanges.Remember(restore.Exchange{Volume: "app", Pending: true})))
	if _, err := w.inPlace(t, v); !errors.Is(err, folder.ErrUnsettled) {
		t.Errorf("a restore: %v", err)
	}
	must(t, os.RemoveAll(left))
	if state := w.state(t, db); state != engine.Running {
		t.Errorf("nothing was stopped yet, and db is %s", state)
	}
	must(t, w.keeping().Settle(t.Context(), []string{"app"}))
	if e, err := w.runner.Exchanges.Of("app"); err != nil || e.Pending {
		t.Errorf("%+v, %v", e, err)
	}
}

// A restore that keeps nothing leaves to expire what an earlier one has kept.
func TestWhatAnEarlierRestoreKeptIsNotForgotten(t *testing.T) {
	w := newWorld(t)
	v := w.volume(t, "app", old)
	w.then = restore.After{}
	_, err := w.inPlace(t, v)
	must(t, err)
	w.then = restore.After{Commit: true}
	_, err = w.inPlace(t, v)
	must(t, err)
	all, err := w.runner.Exchanges.All()
	must(t, err)
	if len(all) != 1 {
		t.Fatalf("remembered is %+v", all)
	}
	must(t, w.keeping().Drop(t.Context(), all[0], time.Now().Add(time.Minute)))
	wantNothingLeft(t, v.Mountpoint)
}

// What is to be put in order is neither dropped nor forgotten.
func TestAnUnsettledVolumeIsNotForgotten(t *testing.T) {
	w := newWorld(t)
	w.volume(t, "app", old)
	pending := restore.Exchange{Volume: "app", Pending: true}
	must(t, w.runner.Exchanges.Remember(pending))
	if err := w.keeping().Drop(t.Context(), pending, time.Now()); !errors.Is(err, folder.ErrUnsettled) || !strings.Contains(err.Error(), "backupd recover") {
		t.Errorf("error %v", err)
	}
	if e, err := w.runner.Exchanges.Of("app"); err != nil || !e.Pending {
		t.Errorf("%+v, %v", e, err)
	}
}

// Containers do not wait for a file that nobody can read: the volume shows what there is to do.
func TestWhatIsRememberedCannotBeRead(t *testing.T) {
	w := newWorld(t)
	w.volume(t, "app", old)
	must(t, w.runner.Exchanges.Remember(restore.Exchange{Volume: "app"}))
	files, err := filepath.Glob(filepath.Join(w.runner.Exchanges.Dir, "*"))
	must(t, err)
	must(t, os.WriteFile(files[0], []byte("{"), 0o600))
	must(t, w.keeping().Settle(t.Context(), []string{"app"}))
	if e, err := w.runner.Exchanges.Of("app"); err != nil || e.Pending {
		t.Errorf("%+v, %v", e, err)
	}
}
