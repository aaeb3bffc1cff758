package backup_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/enginetest"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/snapshot"
)

var running = []engine.State{engine.Running, engine.Running}

func TestVolumesThatShareAContainerShareOneHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		calls := w.count()
		results := w.backup(t.Context())
		w.inject(nil)
		if n := calls("pause container"); n != 2 {
			t.Errorf("containers were paused %d times, want each of both once", n)
		}
		for _, r := range results {
			m := r.Manifest
			if r.Failure() != nil || !r.Stored() || m.Grade != snapshot.Frozen || len(m.Held) != 2 || !m.Taken.Equal(results[0].Manifest.Taken) {
				t.Errorf("volume %s: %v; manifest %+v", r.Volume, r.Failure(), m)
			}
		}
		for place, snapshots := range w.snapshots(t) {
			if len(snapshots) != 1 {
				t.Errorf("%s has %d snapshots, want 1", place, len(snapshots))
			}
		}
		w.checkSnapshotsOpen(t, "after a backup")
	})
}

func TestATargetThatFailsSpoilsNoOther(t *testing.T) {
	down := func(context.Context) error { return errRefused }
	for name, fail := range map[string]func(w *world){
		"when it is asked":       func(w *world) { far := w.runner.Targets["far"]; far.Check = down; w.runner.Targets["far"] = far },
		"when it gets something": func(w *world) { w.target("far", refusing) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, quiesce.Pause)
				fail(w)
				for _, r := range w.backup(t.Context()) {
					if !r.Stored() || r.Err != nil || !errors.Is(r.Failure(), errRefused) || !strings.Contains(r.Failure().Error(), "target far") {
						t.Errorf("volume %s: stored %v, %v", r.Volume, r.Stored(), r.Failure())
					}
				}
				if got := w.snapshots(t); len(got["near/data"]) != 1 || len(got["near/logs"]) != 1 || len(got) != 2 {
					t.Errorf("snapshots: %v, want one of each volume on target near alone", got)
				}
				w.checkContainersRun(t, name)
				w.checkNothingLeft(t, name)
			})
		})
	}
}

func TestWhereAnyTargetIsEnoughARunIsGoodAndTheMissedOneTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		w.runner.AnyTarget = true
		w.target("far", refusing)
		for _, r := range w.backup(t.Context()) {
			if missed := r.Missed(); r.Failure() != nil || len(missed) != 1 || missed[0].Target != "far" || !errors.Is(missed[0].Err, errRefused) {
				t.Errorf("volume %s: %v; missed %+v", r.Volume, r.Failure(), missed)
			}
		}
		w.target("near", refusing)
		for _, r := range w.backup(t.Context()) {
			if !errors.Is(r.Failure(), errRefused) || len(r.Missed()) > 0 {
				t.Errorf("volume %s on no target: %v", r.Volume, r.Failure())
			}
		}
	})
}

func TestWithoutAnyTargetNoContainerIsTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Stop)
		for name, target := range w.runner.Targets {
			target.Check = func(context.Context) error { return errRefused }
			w.runner.Targets[name] = target
		}
		calls := w.count()
		for _, r := range w.backup(t.Context()) {
			if r.Stored() || r.Err == nil || strings.Count(r.Failure().Error(), errRefused.Error()) != 2 {
				t.Errorf("volume %s: %v, want the reason of each target", r.Volume, r.Failure())
			}
		}
		if n := calls("stop") + calls("pause") + calls("put"); n > 0 {
			t.Errorf("there were %d calls that stop, pause or put, want none", n)
		}
	})
}

func TestWhenEveryTargetFailsLateEachSaysWhy(t *testing.T) {
	full := func(t *testing.T, w *world) { w.disk(t, "near", smallDisk(t, 1<<20)) }
	alone := func(t *testing.T, w *world) {
		full(t, w)
		for i := range w.volumes {
			w.volumes[i].Targets.Value = []string{"near"}
		}
	}
	for name, prepare := range map[string]func(t *testing.T, w *world){
		"on the way": func(*testing.T, *world) {}, "on a disk": full, "on a disk alone": alone,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, quiesce.Pause)
				w.target("near", refusing)
				w.target("far", refusing)
				prepare(t, w)
				w.fill(t, "data", "large", 4<<20)
				w.fill(t, "logs", "large", 4<<20)
				for _, r := range w.backup(t.Context()) {
					said := r.Failure().Error()
					told := strings.Count(said, errRefused.Error()) + strings.Count(said, unix.ENOSPC.Error())
					if r.Stored() || r.Err != nil || told != len(w.volumes[0].Targets.Value) {
						t.Errorf("volume %s: %v, want the reason of each target", r.Volume, r.Failure())
					}
				}
				w.checkContainersRun(t, name)
				w.checkNothingLeft(t, name)
			})
		})
	}
}

func TestContainersRunAgainWhenReadingIsDoneWhateverTheUploadTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Stop)
		gate := make(chan struct{})
		w.target("far", gated(gate))
		done := make(chan []backup.Result)
		go func() { done <- w.backup(t.Context()) }()
		time.Sleep(time.Hour) // when the backup begins
		synctest.Wait()
		if got := w.states(); !slices.Equal(got, running) {
			t.Errorf("containers are %v while the upload goes on", got)
		}
		select {
		case <-done:
			t.Error("the backup is done before its upload")
		default:
		}
		close(gate)
		for _, r := range <-done {
			if r.Failure() != nil || r.Manifest.Grade != snapshot.Cold {
				t.Errorf("volume %s: grade %q, %v", r.Volume, r.Manifest.Grade, r.Failure())
			}
		}
	})
}

func TestASpoolThatIsFullWaitsForTheTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		w.fill(t, "data", "large", 4<<20)
		gate := make(chan struct{})
		w.target("far", gated(gate))
		done := make(chan []backup.Result)
		go func() { done <- w.backup(t.Context()) }()
		time.Sleep(time.Hour + 20*time.Second)
		synctest.Wait()
		if got := w.states(); slices.Equal(got, running) {
			t.Error("containers run while the volume is not read yet")
		}
		close(gate)
		for _, r := range <-done {
			if r.Failure() != nil || r.Manifest.Grade != snapshot.Frozen || r.Manifest.HeldMS() != 20_000 {
				t.Errorf("volume %s: grade %q, held for %d ms, %v", r.Volume, r.Manifest.Grade, r.Manifest.HeldMS(), r.Failure())
			}
		}
		w.checkContainersRun(t, "after a backup")
	})
}

// The limit of the hold is a minute.
func TestNoTargetHoldsContainersBeyondTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		w.fill(t, "data", "large", 4<<20)
		w.target("far", hanging)
		for i := range w.volumes {
			w.volumes[i].Targets.Value = []string{"far"}
		}
		began := time.Now().Add(time.Hour)
		results := w.backup(t.Context())
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("it took %v", took)
		}
		for _, r := range results {
			if r.Stored() || r.Err == nil || !strings.Contains(r.Err.Error(), "the limit of 1m0s passed") {
				t.Errorf("volume %s: stored %v, %v", r.Volume, r.Stored(), r.Err)
			}
		}
		if got := w.snapshots(t); len(got) > 0 {
			t.Errorf("snapshots: %v, want none", got)
		}
		w.checkContainersRun(t, "after the limit")
		w.checkNothingLeft(t, "after the limit")
	})
}

func TestATargetThatTakesNothingWhileContainersAreHeldIsGivenUpForTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		w.fill(t, "data", "large", 4<<20)
		w.target("far", hanging)
		w.volumes = w.volumes[:1]
		for _, r := range w.backup(t.Context()) {
			near, far := r.Targets[0], r.Targets[1]
			if r.Err != nil || r.Manifest.Grade != snapshot.Frozen || near.Err != nil {
				t.Errorf("volume %s: grade %q, near: %v, %v", r.Volume, r.Manifest.Grade, near.Err, r.Err)
			}
			if far.Err == nil || !strings.Contains(far.Err.Error(), "given up") {
				t.Errorf("far: %v, want that it was given up", far.Err)
			}
			if held := r.Manifest.HeldMS(); held > 45_000 {
				t.Errorf("containers were held for %d ms of their minute", held)
			}
		}
		w.checkContainersRun(t, "after a backup")
		w.checkNothingLeft(t, "after a backup")
	})
}

func TestAnEndThatIsAskedForAbandonsATargetThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		w.target("far", hanging)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2*time.Hour, cancel)
		for _, r := range w.backup(ctx) {
			if !errors.Is(r.Failure(), context.Canceled) {
				t.Errorf("volume %s: %v, want %v", r.Volume, r.Failure(), context.Canceled)
			}
		}
		w.checkContainersRun(t, "after the end")
		w.checkNothingLeft(t, "after the end")
	})
}

func TestAnOperatorWhoResumesAContainerEndsTheReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		w.fill(t, "data", "large", 4<<20)
		w.target("far", hanging)
		time.AfterFunc(time.Hour+10*time.Second, func() {
			if err := w.eng.Operator().Unpause(context.Background(), "db"); err != nil {
				t.Error(err)
			}
		})
		began := time.Now().Add(time.Hour)
		for _, r := range w.backup(t.Context()) {
			if r.Stored() || r.Err == nil || !strings.Contains(r.Err.Error(), `somebody else let container "db" go (unpause)`) {
				t.Errorf("volume %s: stored %v, %v", r.Volume, r.Stored(), r.Err)
			}
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("it took %v, want it to end at once", took)
		}
		w.checkContainersRun(t, "after the operator")
	})
}

// forgetful is an engine that stops answering questions once a volume is being read.
type forgetful struct {
	*enginetest.Fake
	gone *bool
}

func (f forgetful) Containers(ctx context.Context) ([]engine.Container, error) {
	if *f.gone {
		return nil, engine.ErrUnreachable
	}
	return f.Fake.Containers(ctx)
}

func TestWhatMayHaveMovedIsStoredAndDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		w.backup(t.Context())
		before := w.snapshots(t)
		gone := false
		w.runner.Keeper = quiesce.New(forgetful{w.eng, &gone}, quiesce.Options{Dir: t.TempDir(), Now: time.Now})
		w.runner.Progress = func(string, int64, int64) { gone = true }
		for _, r := range w.backup(t.Context()) {
			if r.Stored() || r.Manifest.Grade != snapshot.Fuzzy || r.Err == nil || !strings.Contains(r.Err.Error(), "could not be looked at") {
				t.Errorf("volume %s: stored %v, grade %q, %v", r.Volume, r.Stored(), r.Manifest.Grade, r.Err)
			}
		}
		for place, snapshots := range w.snapshots(t) {
			if len(snapshots) != 2 || snapshots[0].ID != before[place][0].ID || snapshots[1].Good() {
				t.Errorf("%s: %v, want the good one and one that does not count", place, snapshots)
			}
		}
		w.checkContainersRun(t, "after a fuzzy backup")
	})
}

func TestAVolumeThatHasBecomeEmptyIsSuspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		w.volumes = w.volumes[:1]
		file := filepath.Join(w.volumes[0].Mountpoint, "file")
		backup := func() backup.Result { return w.backup(t.Context())[0] }
		if r := backup(); r.Failure() != nil {
			t.Fatal(r.Failure())
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second is not measured by the first
			r := backup()
			if r.Stored() || r.Err == nil || !strings.Contains(r.Err.Error(), "suspect") || !strings.Contains(r.Err.Error(), "--allow-empty") {
				t.Errorf("an empty volume: stored %v, %v", r.Stored(), r.Err)
			}
		}
		w.runner.AllowEmpty = true
		if r := backup(); !r.Stored() || r.Failure() != nil {
			t.Errorf("an empty volume that is meant to be: stored %v, %v", r.Stored(), r.Failure())
		}
		w.runner.AllowEmpty = false
		if r := backup(); !r.Stored() || r.Failure() != nil {
			t.Errorf("a volume that was empty before: stored %v, %v", r.Stored(), r.Failure())
		}
	})
}

func TestAPanicLeavesNothingHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails where a goroutine is left
		w := newWorld(t, quiesce.Stop)
		w.fill(t, "data", "large", 4<<20)
		w.target("far", hanging)
		w.runner.Progress = func(string, int64, int64) { panic("out of range") }
		func() {
			defer func() {
				if p := recover(); p != "out of range" {
					t.Errorf("the caller got %v, want the panic", p)
				}
			}()
			w.backup(t.Context())
		}()
		w.checkContainersRun(t, "after a panic")
		w.checkNothingLeft(t, "after a panic")
		if got := w.snapshots(t); len(got) > 0 {
			t.Errorf("snapshots: %v, want none", got)
		}
	})
}

func TestAnyNameOfAVolume(t *testing.T) {
	for _, name := range []string{"two\nlines", "a b%%..", ".hidden", "ünï", "\xff\xfe"} {
		t.Run(snapshot.Escape(name), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, quiesce.Pause)
				v := w.eng.AddVolume(engine.Volume{Name: name})
				write(t, filepath.Join(v.Mountpoint, "file"), name)
				w.volumes = append(w.volumes[:0], planned(v, quiesce.Pause, nil))
				for _, r := range w.backup(t.Context()) {
					if r.Failure() != nil || !r.Stored() || r.Manifest.Volume != name {
						t.Errorf("volume %q: stored %v, %v", r.Volume, r.Stored(), r.Failure())
					}
				}
				w.checkSnapshotsOpen(t, name)
			})
		})
	}
}

func TestTargetsThatAreNotSetUpAreAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		w.volumes[0].Targets.Value = []string{"near", "elsewhere"}
		results := w.backup(t.Context())
		if r := results[0]; r.Stored() || r.Err == nil || !strings.Contains(r.Err.Error(), `"elsewhere"`) {
			t.Errorf("stored %v, %v", r.Stored(), r.Err)
		}
		if r := results[1]; !r.Stored() || r.Failure() != nil {
			t.Errorf("the other volume of the job: stored %v, %v", r.Stored(), r.Failure())
		}
	})
}

func TestProgressKnowsHowMuchToExpect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		w.volumes = w.volumes[:1]
		var told [][2]int64
		w.runner.Progress = func(_ string, read, expected int64) { told = append(told, [2]int64{read, expected}) }
		w.backup(t.Context())
		w.backup(t.Context())
		want := [][2]int64{{4, 0}, {4, 4}} // bytes of "data"
		if diff := cmp.Diff(want, told); diff != "" {
			t.Error("progress (-want +got):\n" + diff)
		}
	})
}
