package daemon_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backupd/backupd/internal/daemon"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/schedule"
)

// world is all that a daemon works with. It lives in a bubble, whose clock begins at midnight, UTC, of the first Saturday of 2000.
type world struct {
	t        *testing.T
	began    time.Time
	state    string // directory
	parallel int
	finder   finder
	events   events
	runner   runner
	filler   filler
	verifier verifier
	driller  driller
	any      bool
	log      logbook
	clock    clock
}

func newWorld(t *testing.T, volumes ...plan.Volume) *world {
	w := &world{t: t, began: time.Now(), state: t.TempDir(), parallel: 1}
	w.finder.set(volumes...)
	w.runner.world, w.filler.world, w.verifier.world, w.driller.world = w, w, w, w
	return w
}

// start starts a daemon, as after each start of the host: nothing but the state directory outlives the one before. stop ends it, and
// fails the test where it does not end well and at once.
func (w *world) start() (stop func()) {
	w.t.Helper()
	l, _, err := ledger.Open(w.state, rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	d := daemon.New(daemon.Options{
		Finder: &w.finder, Watcher: &w.events, Runner: &w.runner, Filler: &w.filler, Verifier: &w.verifier, Verify: w.verifier.spec, Driller: &w.driller, AnyTarget: w.any, Ledger: l, Host: "host", Zone: time.UTC,
		Parallel: w.parallel, Now: w.clock.now, Log: slog.New(&w.log),
	})
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	synctest.Wait()
	return func() {
		w.t.Helper()
		synctest.Wait()
		asked := time.Now()
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("the daemon ended with %v", err)
		}
		if took := time.Since(asked); took > w.runner.letGo {
			w.t.Errorf("the daemon took %v to end, and its jobs %v", took, w.runner.letGo)
		}
		if running := w.runner.running(); len(running) > 0 {
			w.t.Errorf("the daemon has ended and %v still run", running)
		}
	}
}

// during runs a daemon for so long.
func (w *world) during(d time.Duration) {
	w.t.Helper()
	stop := w.start()
	time.Sleep(d)
	stop()
}

// crash runs a daemon for so long, and ends it so that it can remember nothing of its end.
func (w *world) crash(after time.Duration) {
	w.t.Helper()
	stop := w.start()
	time.Sleep(after)
	synctest.Wait()
	path := filepath.Join(w.state, "ledger.json")
	was, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	stop()
	if err := os.WriteFile(path, was, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remember(change func(*ledger.State)) {
	w.t.Helper()
	l, _, err := ledger.Open(w.state, rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := l.Update(func(s *ledger.State) error { change(s); return nil }); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remembered() map[string]ledger.Volume { return w.view().Volumes }

func (w *world) round() ledger.Round { return w.view().Verify }

func (w *world) view() ledger.State {
	w.t.Helper()
	l, _, err := ledger.Open(w.state, rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	return l.View()
}

// volume is one with a schedule. Containers are named by their ids and may write to it.
func volume(t *testing.T, name, spec string, containers ...string) plan.Volume {
	t.Helper()
	v := plan.Volume{Volume: engine.Volume{Name: name}, Enrolled: plan.VolumeLabel}
	v.Quiesce.Value = quiesce.Pause
	var err error
	if v.Schedule.Value, err = schedule.Parse(spec); err != nil {
		t.Fatal(err)
	}
	for _, id := range containers {
		v.Containers = append(v.Containers, engine.Container{ID: id, State: engine.Running, Mounts: []engine.Mount{{Volume: name}}})
	}
	return v
}
