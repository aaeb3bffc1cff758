package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/backupd/backupd/internal/testenv"
)

const (
	own     = 1500 * time.Millisecond // that a container takes for its own stop and start
	promise = 2*time.Second + own     // with a guard that lives, and an engine that answers
	// Whoever takes the place of a dead guard waits until the engine can no longer carry out what that one asked for.
	unsettled = 5*time.Second + stopTimeout
	silence   = 30 * time.Second // of a worker, before its guard believes it dead
	limit     = 2 * time.Second  // of a hold, where it is to pass
	comeback  = 15 * time.Second // of the containers of an engine that answers again
)

// bound is how long a container may be down after the kind of strike.
func (k kind) bound() time.Duration {
	switch k {
	case killGuard, killBoth:
		return unsettled + promise
	case killEngine, killAll:
		return comeback + unsettled + promise
	case freeze:
		return silence + promise
	case overtime:
		return limit + promise
	}
	return promise
}

// reach waits for a moment, and tells whether it came before the end of the worker.
func (t *torment) reach(ctx context.Context, m moment, w *worker, seen <-chan string) bool {
	count := map[sight]func() int{
		start: func() int { return 1 },
		child: func() int { return len(t.program.processes(true)) },
		line:  t.lines(),
		event: func() int { return len(seen) },
	}[m.seen]
	for count() < m.times {
		if w.hasEnded() || ctx.Err() != nil {
			return false
		}
		time.Sleep(300 * time.Microsecond)
	}
	time.Sleep(m.after)
	return !w.hasEnded()
}

// lines counts the lines of all journals there were since it was made.
func (t *torment) lines() func() int {
	most := make(map[string]int)
	return func() (sum int) {
		all, _ := filepath.Glob(filepath.Join(t.state, "holds", "*.journal"))
		for _, path := range all {
			if text, err := os.ReadFile(path); err == nil { // it may have gone
				most[path] = max(most[path], bytes.Count(text, []byte("\n")))
			}
		}
		for _, n := range most {
			sum += n
		}
		return sum
	}
}

// blow is what was done in a round.
type blow struct {
	struck  bool
	since   time.Time       // from which on is measured how long containers are down
	excused map[string]bool // ids of containers that are down, if they are, by no doing of backupd
}

// strike does what a round is about, and brings back what is needed to let go.
func (t *torment) strike(r round, w *worker) (b blow, err error) {
	guards := t.program.processes(true)
	if len(guards) == 0 && (r.kind == killGuard || r.kind == freeze || r.kind == overtime) {
		return b, nil // there is nothing that would be tried
	}
	b = blow{struck: true, since: time.Now()}
	switch r.kind {
	case freeze, overtime:
		w.signal(syscall.SIGSTOP)
	case terminate:
		w.signal(syscall.SIGTERM)
	case killEngine, killAll:
		b.excused = t.restart(r, w, guards)
		b.since = time.Now()
	case killGuard:
		t.kill(r, w, guards[:1])
	default:
		t.kill(r, w, guards)
	}
	if r.kind == killBoth || r.kind == killAll {
		_, err = t.program.run("recover")
	}
	return b, err
}

// restart kills the engine and what else the round is about, and starts it again. It gives the containers that backupd need not bring back:
// engines 20.10 were seen to leave what ran down, in spite of its restart policy, when they come back without live restore.
func (t *torment) restart(r round, w *worker, guards []int) (excused map[string]bool) {
	t.scene.engine.Restart(syscall.SIGKILL, func() {
		t.kill(r, w, guards)
		if !r.live {
			excused = t.scene.awake()
		}
		t.scene.engine.Settings(fmt.Sprintf(`{"live-restore": %t}`, r.live))
		time.Sleep(r.down)
	})
	return excused
}

// kill kills the processes that the round is about.
func (t *torment) kill(r round, w *worker, guards []int) {
	guardsDie := r.kind == killGuard || r.kind == killBoth || r.kind == killAll
	workerDies := r.kind == killWorker || r.kind == killBoth || r.kind == killAll
	killGuards := func() {
		for _, pid := range guards {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
		for _, pid := range guards {
			t.within(10*time.Second, "a process dies that was killed", func() bool { return testenv.Ended(pid) })
		}
	}
	if guardsDie && r.first {
		killGuards()
	}
	if workerDies {
		w.signal(syscall.SIGKILL)
		<-w.ended
	}
	if guardsDie && !r.first {
		killGuards()
	}
	if guardsDie && workerDies { // one may have been started just before
		guards = t.program.processes(true)
		killGuards()
	}
}

func (t *torment) within(limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); time.Sleep(time.Millisecond) {
		if time.Since(began) > limit {
			t.Fatalf("within %s not: %s", limit, what)
		}
	}
}

// recovery is how the containers fared after a strike.
type recovery struct {
	held bool          // one did not run
	took time.Duration // until all did
}

// comeBack waits until all containers run.
func (t *torment) comeBack(ctx context.Context, b blow, bound time.Duration) (r recovery, err error) {
	for {
		down, err := t.scene.down(ctx, b.excused)
		r.took = time.Since(b.since)
		switch {
		case err != nil:
			return r, err
		case len(down) == 0:
			return r, t.scene.revive(ctx, b.excused)
		case r.took > bound:
			return r, fmt.Errorf("after %s %s", r.took, strings.Join(down, ", "))
		}
		r.held = true
		time.Sleep(10 * time.Millisecond)
	}
}

// wind ends what has survived the strike. Nothing is held by it any more that was let go without it.
func (t *torment) wind(ctx context.Context, r round, w *worker) error {
	var errs []error
	switch {
	case r.kind == freeze || r.kind == overtime:
		awake, cancel := context.WithCancel(ctx)
		defer cancel()
		seen := t.scene.watch(awake)
		w.signal(syscall.SIGCONT)
		errs = append(errs, w.waitFor(time.Minute))
		for range len(seen) {
			if e := <-seen; strings.HasSuffix(e, " pause") || strings.HasSuffix(e, " kill") {
				errs = append(errs, fmt.Errorf("after it woke up: %s", e))
			}
		}
	case r.daemon:
		w.signal(syscall.SIGTERM)
		fallthrough
	default:
		errs = append(errs, w.waitFor(time.Minute))
	}
	for began := time.Now(); len(t.program.processes(false)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > silence+promise { // a guard that nobody ever asked waits that long
			return errors.Join(append(errs, errors.New("processes are left behind"))...)
		}
	}
	return errors.Join(errs...)
}
