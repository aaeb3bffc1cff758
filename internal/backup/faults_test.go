package backup_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backupd/backupd/internal/access"
	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/enginetest"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/schedule"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets/memory"
)

// TestEveryFault backs up two volumes of two containers to two targets, once for each call that this makes of the engine and of the
// targets, and each way in which that call can fail. Whatever fails, the promises hold.
func TestEveryFault(t *testing.T) {
	for _, mode := range []quiesce.Mode{quiesce.Pause, quiesce.Stop} {
		for _, kind := range faulttest.Kinds {
			t.Run(fmt.Sprintf("%s/%v", mode, kind), func(t *testing.T) {
				t.Parallel()
				for at, more := 1, true; more; at++ {
					synctest.Test(t, func(t *testing.T) { more = walk(t, mode, kind, at) })
				}
			})
		}
	}
}

// walk makes call number at fail, and tells whether there was one.
func walk(t *testing.T, mode quiesce.Mode, kind faulttest.Kind, at int) (more bool) {
	return newWorld(t, mode).walk(t, kind, at)
}

func (w *world) walk(t *testing.T, kind faulttest.Kind, at int) (more bool) {
	w.fill(t, "data", "large", 1<<17) // enough to be cloned where that can be
	w.backup(t.Context())             // so that there is something that retention could wrongly remove
	before := w.snapshots(t)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	faults := &faulttest.Injector{At: at, Kind: kind, Cancel: cancel}
	w.inject(faults)
	results := w.backup(ctx)
	w.inject(nil)

	calls := faults.Calls()
	if at > len(calls) {
		t.Logf("%d calls", len(calls))
		for _, r := range results {
			if err := r.Failure(); err != nil {
				t.Errorf("without any fault: %v", err)
			}
		}
		return false
	}
	where := fmt.Sprintf("call %d, %s, failed %v", at, calls[at-1], kind)
	w.checkContainersRun(t, where)
	w.checkSnapshotsOpen(t, where)
	w.checkNothingLost(t, where, before)
	w.checkNothingLeft(t, where)
	w.checkNoClones(t)
	return true
}

// world is an engine with two containers on two volumes, and two targets.
type world struct {
	eng        *enginetest.Fake
	stores     map[string]*memory.Store
	runner     *backup.Runner
	volumes    []plan.Volume
	containers []engine.Container
	spool      string
}

func newWorld(t *testing.T, mode quiesce.Mode) *world {
	t.Helper()
	w := &world{eng: enginetest.New(t), stores: map[string]*memory.Store{}, spool: t.TempDir()}
	w.runner = &backup.Runner{
		Identity: backup.Identity{Host: "web1", Owner: "owner", Program: "test"},
		Keeper:   quiesce.New(w.eng, quiesce.Options{Dir: t.TempDir(), Now: time.Now}),
		Access:   access.New(w.eng, access.Options{Owner: "owner", Lock: filepath.Join(t.TempDir(), "lock"), Entropy: rand.Reader}),
		Targets:  map[string]backup.Target{},
		Locks:    catalog.Locks{Dir: t.TempDir()},
		Spool:    backup.Spool{Dir: w.spool, Limit: 1 << 20},
		Archive:  archive.Options{Level: archive.Fastest, Workers: 1},
		Pruner:   backup.Pruner{Owner: "owner", Now: time.Now, Zone: time.UTC},
		Now:      time.Now,
		Entropy:  rand.Reader,
		Log:      slog.New(slog.DiscardHandler),
	}
	for _, name := range []string{"near", "far"} {
		w.stores[name] = memory.New()
		w.runner.Targets[name] = backup.Target{Name: name, Catalog: catalog.New(w.stores[name], nil, "web1")}
	}
	var data, logs engine.Volume
	for _, made := range []struct {
		as   *engine.Volume
		name string
	}{{&data, "data"}, {&logs, "logs"}} {
		*made.as = w.eng.AddVolume(engine.Volume{Name: made.name, Driver: "local"})
		write(t, filepath.Join(made.as.Mountpoint, "file"), made.name)
	}
	mount := func(names ...string) (mounts []engine.Mount) {
		for _, name := range names {
			mounts = append(mounts, engine.Mount{Volume: name, Destination: "/" + name})
		}
		return mounts
	}
	for _, c := range []engine.Container{
		{Name: "db", StopTimeout: time.Second, Mounts: mount("data", "logs")},
		{Name: "app", StopTimeout: time.Second, Mounts: mount("logs")},
	} {
		w.containers = append(w.containers, w.eng.AddContainer(enginetest.Container{Container: c}))
	}
	for _, v := range []engine.Volume{data, logs} {
		w.volumes = append(w.volumes, planned(v, mode, w.containers))
	}
	return w
}

func planned(v engine.Volume, mode quiesce.Mode, containers []engine.Container) plan.Volume {
	p := plan.Volume{Volume: v, Containers: containers}
	p.Schedule.Value = schedule.Spec{}
	p.Retention.Value = retention.Policy{Last: 1}
	p.Quiesce.Value = mode
	p.Limit.Value = time.Minute
	p.Targets.Value = []string{"near", "far"}
	return p
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

// backup is an hour after the one before it: the clock is the bubble's.
func (w *world) backup(ctx context.Context) []backup.Result {
	time.Sleep(time.Hour)
	return w.runner.Run(ctx, plan.Job{Volumes: w.volumes})
}

func (w *world) inject(faults *faulttest.Injector) {
	w.eng.Faults = faults
	for _, s := range w.stores {
		s.Faults = faults
	}
}

// snapshots gives those of all targets, by target and volume.
func (w *world) snapshots(t *testing.T) map[string][]catalog.Snapshot {
	t.Helper()
	all := map[string][]catalog.Snapshot{}
	for name, target := range w.runner.Targets {
		l, err := target.Catalog.All(t.Context())
		if err == nil {
			err = l.Err()
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range l.Snapshots {
			all[name+"/"+s.Volume] = append(all[name+"/"+s.Volume], s)
		}
	}
	return all
}

func (w *world) checkContainersRun(t *testing.T, where string) {
	t.Helper()
	for _, was := range w.containers {
		c, err := w.eng.Container(t.Context(), was.ID)
		if err != nil || c.State != engine.Running {
			t.Errorf("%s: container %s is %s (%v)", where, was.Name, c.State, err)
		}
	}
}

// checkSnapshotsOpen reads back every snapshot that is listed, good or not.
func (w *world) checkSnapshotsOpen(t *testing.T, where string) {
	t.Helper()
	for place, snapshots := range w.snapshots(t) {
		for _, s := range snapshots {
			target := w.runner.Targets[filepath.Dir(place)]
			from, _, err := target.Catalog.Stream(t.Context(), s.Manifest)
			if err != nil {
				t.Errorf("%s: %s: %v", where, place, err)
				continue
			}
			stored, err := io.ReadAll(from)
			dir := t.TempDir()
			if err == nil {
				_, err = archive.Extract(t.Context(), bytes.NewReader(stored), dir, archive.ExtractOptions{})
			}
			if got, readErr := os.ReadFile(filepath.Join(dir, "file")); err != nil || readErr != nil || string(got) != s.Volume {
				t.Errorf("%s: %s: snapshot %s gave %q (%v, %v)", where, place, s.ID, got, err, readErr)
			}
		}
	}
}

// checkNothingLost makes sure that a snapshot went only where a newer good one has come.
func (w *world) checkNothingLost(t *testing.T, where string, before map[string][]catalog.Snapshot) {
	t.Helper()
	after := w.snapshots(t)
	for place := range before {
		good := 0
		for _, s := range after[place] {
			if s.Good() {
				good++
			}
		}
		if good == 0 {
			t.Errorf("%s: %s has no good snapshot any more", where, place)
		}
	}
}

func (w *world) checkNothingLeft(t *testing.T, where string) {
	t.Helper()
	if left, err := os.ReadDir(w.spool); err != nil || len(left) > 0 {
		t.Errorf("%s: the spool's folder holds %v (%v)", where, left, err)
	}
	release, err := w.runner.Locks.Hold(t.Context(), "data", "logs")
	if err != nil {
		t.Fatalf("%s: locks: %v", where, err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	for name, s := range w.stores {
		for o, err := range s.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := snapshot.ParseKey(o.Key); err != nil {
				t.Errorf("%s: target %s holds %q", where, name, o.Key)
			}
		}
	}
}
