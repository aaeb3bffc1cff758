// Package torture kills backupd, its guards and the engine in the middle of backups, over and over, and looks after each time whether all
// is well again: containers run, what is listed is whole, nothing is left behind, and the next backup succeeds.
//
// `make torture` runs it for long; the plan of a run follows from its seed alone, though no two machines reach its moments alike.
package torture

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/testenv"
)

var (
	kills = flag.Int("kills", 6, "how often something is killed, or the like")
	seed  = flag.Uint64("seed", 1, "what the plan follows from")
	from  = flag.Int("from", 1, "number of the first round")
	only  = flag.String("only", "", "strike in ways alone whose name has this in it")
	every = flag.Bool("open-all", false, "open every snapshot of the database, and not only some at the end")
)

const stopTimeout = 2 * time.Second // of the container that is stopped

// torment is a run in progress.
type torment struct {
	*testing.T
	scene   *scene
	program program
	state   string // its folder
	target  string
	known   map[string]bool // ids of snapshots that were verified
	opened  int             // snapshots of the database
	figures map[kind]*figures
	missed  int // rounds whose moment never came
	wedged  int // those after which the engine had to be started once more
}

type figures struct {
	struck int
	down   []time.Duration // of those after which a container did not run
}

func TestContainersRunWhateverDies(t *testing.T) {
	testenv.Root(t)
	if _, err := os.Stat(postgres + "pg_amcheck"); err != nil {
		testenv.Missing(t, "PostgreSQL 15", "run under test/means.sh")
	}
	tt := newTorment(t)
	t.Logf("rerun with: make torture KILLS=%d SEED=%d", *kills, *seed)
	rounds := plan(*seed, 40*(*from+*kills))[*from-1:]
	defer tt.report()
	for _, r := range rounds {
		if !strings.Contains(string(r.kind), *only) {
			continue
		}
		if tt.strikes() >= *kills || tt.Failed() && !*every || timeIsUp(t) {
			break
		}
		tt.round(r)
	}
	tt.openSome()
	if _, err := tt.program.run("verify", "--all"); err != nil {
		t.Error(err)
	}
}

// timeIsUp tells whether what is left of the time of the test is needed for its end.
func timeIsUp(t *testing.T) bool {
	deadline, ok := t.Deadline()
	return ok && time.Until(deadline) < 2*time.Minute
}

func newTorment(t *testing.T) *torment {
	e := testenv.NewOwnEngine(t)
	tt := &torment{T: t, scene: newScene(t, e), state: t.TempDir(), target: t.TempDir(), known: make(map[string]bool),
		figures: make(map[kind]*figures)}
	tt.program = newProgram(build(t), map[string]string{
		"DOCKER_HOST":        e.Host,
		"BACKUPD_HOST":       "torture",
		"BACKUPD_STATE_DIR":  tt.state,
		"BACKUPD_TARGETS":    "local=file://" + tt.target,
		"BACKUPD_RETENTION":  "last=20",
		"BACKUPD_SCHEDULE":   "@every 1s",
		"BACKUPD_LOG_LEVEL":  "debug",
		"BACKUPD_LOG_FORMAT": "text",
	})
	if _, err := tt.program.run("backup"); err != nil {
		t.Fatal(err)
	}
	return tt
}

func (t *torment) strikes() (n int) {
	for _, f := range t.figures {
		n += f.struck
	}
	return n
}

// round strikes once, and fails the test unless all is well afterwards.
func (t *torment) round(r round) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := filepath.Join(t.TempDir(), "log")
	seen := t.scene.watch(ctx)
	took, err := t.meanwhile(ctx, r, log, seen)
	if err == nil {
		err = t.aftermath(ctx, r)
	}
	if err != nil && t.unwedge(ctx) {
		err = t.aftermath(ctx, r)
	}
	if err != nil {
		said, _ := os.ReadFile(log)
		t.Errorf("%s: %v\nthe worker and its guards say:\n%s\nthe engine says:\n%s", r, err, said, all(seen))
		t.mend()
		return
	}
	t.Logf("%s: %s", r, took)
}

// meanwhile runs the worker, strikes, and waits until everything runs.
func (t *torment) meanwhile(ctx context.Context, r round, log string, seen <-chan string) (took string, err error) {
	w, err := t.worker(r, log)
	if err != nil {
		return "", err
	}
	defer w.signal(syscall.SIGKILL) // whatever comes
	reached := t.reach(ctx, r.moment, w, seen)
	var b blow
	if reached {
		b, err = t.strike(r, w)
	}
	if !b.struck {
		t.missed++
		return "never came", errors.Join(err, t.wind(ctx, round{daemon: r.daemon}, w))
	}
	f := t.figures[r.kind]
	if f == nil {
		f = &figures{}
		t.figures[r.kind] = f
	}
	f.struck++
	back, late := t.comeBack(ctx, b, r.kind.bound())
	if back.held {
		f.down = append(f.down, back.took)
	}
	return back.took.Round(time.Millisecond).String(), errors.Join(err, late, t.wind(ctx, r, w))
}

// worker starts what is to be struck. It reads slowly, to be met in the middle.
func (t *torment) worker(r round, log string) (*worker, error) {
	set := map[string]string{"BACKUPD_READ_LIMIT": "60MiB", "BACKUPD_PARALLEL": fmt.Sprint(r.parallel)}
	args := []string{"backup"}
	switch {
	case r.kind == freeze:
		args = append(args, t.scene.volumes["database"])
	case r.kind == overtime:
		set["BACKUPD_QUIESCE_LIMIT"], set["BACKUPD_READ_LIMIT"] = limit.String(), "8MiB"
		args = append(args, t.scene.volumes["database"])
	case r.daemon:
		args = []string{"run"}
	}
	p := t.program.with(set)
	if r.kind.contained() {
		return t.contain(p, log, args...)
	}
	return p.start(log, args...)
}

// aftermath looks whether all is as if nothing had happened.
func (t *torment) aftermath(ctx context.Context, r round) error {
	if err := t.next(r); err != nil {
		return fmt.Errorf("the next run: %w", err)
	}
	down, err := t.scene.down(ctx, nil)
	if err == nil && len(down) > 0 {
		err = fmt.Errorf("after the next run %s", strings.Join(down, ", "))
	}
	return errors.Join(err, t.remains(ctx), t.sound())
}

// next is the backup after a strike, where the one before it was.
func (t *torment) next(r round) error {
	if r.kind.contained() {
		return errors.Join(t.runContained("backup"), t.guardsGo())
	}
	_, err := t.program.run("backup")
	return err
}

// guardsGo waits until the containers of guards are gone, which remove themselves just after the end of who asked for them, or, when the
// engine has started them again, once it is clear that nobody asks.
func (t *torment) guardsGo() error {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		left, err := t.scene.strangers(t.Context())
		if err != nil || len(left) == 0 || time.Since(began) > unasked+promise {
			return err // what is left is found by remains
		}
	}
}

// remains is an error when something was left behind.
func (t *torment) remains(ctx context.Context) error {
	containers, err := t.scene.strangers(ctx)
	left, err2 := t.scene.beside(ctx)
	left = append(left, containers...)
	for _, pattern := range []string{"holds/*.journal", "holds/*.refused", "spool/*"} {
		paths, err := filepath.Glob(filepath.Join(t.state, pattern))
		left, err2 = append(left, paths...), errors.Join(err2, err)
	}
	objects, err3 := filepath.Glob(filepath.Join(t.target, "torture", "*", "*"))
	for _, path := range objects { // an archive without manifest stays for two days
		if !strings.HasSuffix(path, ".tar.zst") && !strings.HasSuffix(path, ".json") {
			left = append(left, path)
		}
	}
	if len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("left behind: %s", strings.Join(left, ", ")))
	}
	return errors.Join(err, err2, err3)
}

// sound verifies the snapshots that are new, and opens them where all are to be.
func (t *torment) sound() error {
	all, err := t.program.list()
	if err != nil {
		return err
	}
	var ids []string
	var errs []error
	for _, s := range all {
		if t.known[s.ID] {
			continue
		}
		t.known[s.ID] = true
		ids = append(ids, s.ID)
		if *every && s.Good && s.Volume == t.scene.volumes["database"] {
			errs = append(errs, t.openOne(s))
		}
	}
	if len(ids) == 0 {
		return errors.New("the next run gave no snapshot")
	}
	_, err = t.program.run(append([]string{"verify"}, ids...)...)
	return errors.Join(append(errs, err)...)
}

func (t *torment) openOne(s snapshot) error {
	t.opened++
	if err := t.program.open(s); err != nil {
		return fmt.Errorf("snapshot %s, which is %s: %w", s.ID, s.Grade, err)
	}
	return nil
}

// openSome opens the newest snapshot of the database, and two more.
func (t *torment) openSome() {
	all, err := t.program.list()
	if err != nil {
		t.Error(err)
		return
	}
	all = slices.DeleteFunc(all, func(s snapshot) bool { return !s.Good || s.Volume != t.scene.volumes["database"] })
	for i := len(all) - 1; i >= 0; i -= max(1, len(all)/2) {
		if err := t.openOne(all[i]); err != nil {
			t.Error(err)
		}
	}
}

// mend has the next round begin well, after one that has failed.
func (t *torment) mend() {
	for id := range t.scene.all {
		_ = t.scene.engine.API.ContainerUnpause(t.Context(), id) // most are not paused
	}
	if err := t.scene.revive(t.Context(), t.scene.each()); err != nil {
		t.Error(err)
	}
	if _, err := t.program.run("recover"); err != nil {
		t.Error(err)
	}
}

// report says how often each kind of strike came, and how the containers fared.
func (t *torment) report() {
	t.Logf("%d strikes, and %d rounds whose moment never came", t.strikes(), t.missed)
	for _, k := range slices.Sorted(maps.Keys(t.figures)) {
		f := t.figures[k]
		slices.Sort(f.down)
		text := fmt.Sprintf("%d, %d of them while containers were held", f.struck, len(f.down))
		if n := len(f.down); n > 0 {
			text += fmt.Sprintf("; all ran again after %s (median), %s (most)", f.down[n/2].Round(time.Millisecond), f.down[n-1].Round(time.Millisecond))
		}
		t.Attr(strings.ReplaceAll(string(k), " ", "_"), text)
		t.Logf("%s: %s", k, text)
	}
	if t.wedged > 0 {
		t.Logf("%d times the engine could start a container of its own no more after it was killed, until it was started once more", t.wedged)
	}
	t.Logf("%d snapshots verified, %d of the database opened", len(t.known), t.opened)
}
