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
	unasked   = 10 * time.Second // of a guard, before it believes that nobody needs it
	silence   = 30 * time.Second // of a worker, before its guard believes it dead
	limit     = 2 * time.Second  // of a hold, where it is to pass
	comeback  = 15 * time.Second // of the containers of an engine that answers again
)

// bound is how long a container may be down after the kind of strike.
func (k kind) bound() time.Duration {
	switch k {
	case killGuard, killBoth, killSibling, killContainers:
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
	guards, err := t.guards(r)
	if err != nil {
		return b, err
	}
	workerDies, guardsDie := r.kind.hits()
	if frozen := r.kind == freeze || r.kind == overtime; len(guards) == 0 && (frozen || guardsDie && !workerDies) {
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
	case killGuard, killSibling:
		t.kill(r, w, guards[:1])
	default:
		t.kill(r, w, guards)
	}
	switch {
	case r.kind == killBoth || r.kind == killAll:
		_, err = t.program.run("recover")
	case r.kind == killContainers && r.asked:
		err = t.runContained("recover") // else the engine starts the guard again
	}
	return b, err
}

// restart kills the engine and what else the round is about, and starts it again. It gives the containers that backupd need not bring back:
// engines 20.10 were seen to leave what ran down, in spite of its restart policy, when they come back without live restore.
func (t *torment) restart(r round, w *worker, guards []victim) (excused map[string]bool) {
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

// kill kills what the round is about.
func (t *torment) kill(r round, w *worker, guards []victim) {
	workerDies, guardsDie := r.kind.hits()
	if guardsDie && r.first {
		t.killGuards(guards)
	}
	if workerDies {
		t.killWorker(r, w)
	}
	if guardsDie && !r.first {
		t.killGuards(guards)
	}
	if guardsDie && workerDies && !r.kind.contained() { // one may have been started just before
		guards, _ = t.guards(r)
		t.killGuards(guards)
	}
	if workerDies {
		<-w.ended
	}
}

// killWorker waits for the death of its process alone: its container takes longer to be gone, and guards would let go meanwhile.
func (t *torment) killWorker(r round, w *worker) {
	switch {
	case w.first == 0:
		w.signal(syscall.SIGKILL)
		<-w.ended
	case r.asked:
		w.signal(syscall.SIGKILL)
	default:
		process(w.first).kill()
		t.within(10*time.Second, "the worker dies that was killed", func() bool { return testenv.Ended(w.first) })
	}
}

func (t *torment) killGuards(guards []victim) {
	for _, g := range guards {
		g.kill()
	}
	for _, g := range guards {
		t.within(10*time.Second, "a process dies that was killed", func() bool { return testenv.Ended(g.pid) })
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

// unwedge does what an operator has to when the engine itself cannot start a container, and tells whether that is why one is down and it
// helped. Engines 20.10 that are killed while they start one were seen to say of it, when they come back with live restore, that it has
// ended and exists already.
func (t *torment) unwedge(ctx context.Context) bool {
	err := t.scene.revive(ctx, t.scene.each())
	if err == nil || !strings.Contains(err.Error(), "already exists") {
		return false
	}
	t.wedged++
	t.Logf("the engine has to be started once more: %v", err)
	t.scene.engine.Settings(`{"live-restore": false}`)
	t.scene.engine.Restart(syscall.SIGTERM, func() {})
	if _, err := t.program.run("recover"); err != nil {
		t.Log(err)
		return false
	}
	_, err = t.comeBack(ctx, blow{since: time.Now()}, comeback+unsettled+promise)
	return err == nil
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
