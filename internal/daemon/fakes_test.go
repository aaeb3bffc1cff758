package daemon_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/snapshot"
)

// clock is the bubble's, and can be set.
type clock struct {
	mu  sync.Mutex
	off time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.off)
}

func (c *clock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += d
}

// finder gives what it was told to.
type finder struct {
	mu      sync.Mutex
	volumes []plan.Volume
	err     error
	looks   []time.Time
}

func (f *finder) Volumes(context.Context) ([]plan.Volume, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks = append(f.looks, time.Now())
	return slices.Clone(f.volumes), f.err
}

func (f *finder) set(volumes ...plan.Volume) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.volumes = volumes
}

func (f *finder) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *finder) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.looks)
}

// events are streams of what the test tells. The zero value is a quiet one.
type events struct {
	mu     sync.Mutex
	stream chan streamed // of the stream that is followed now
	since  []time.Time   // of each stream
	broken error         // what every new stream begins with
}

type streamed struct {
	event engine.Event
	err   error
}

func (e *events) Events(ctx context.Context, since time.Time) iter.Seq2[engine.Event, error] {
	e.mu.Lock()
	defer e.mu.Unlock()
	stream := make(chan streamed)
	e.stream, e.since = stream, append(e.since, since)
	broken := e.broken
	return func(yield func(engine.Event, error) bool) {
		for next := (streamed{err: broken}); next.err == nil; {
			select {
			case next = <-stream:
				if next.err == nil && !yield(next.event, nil) {
					return
				}
			case <-ctx.Done():
				next.err = context.Cause(ctx)
			}
			broken = next.err
		}
		yield(engine.Event{}, broken)
	}
}

// tell puts something into the stream that is followed now.
func (e *events) tell(s streamed) {
	e.mu.Lock()
	stream := e.stream
	e.mu.Unlock()
	stream <- s
	synctest.Wait()
}

func (e *events) broke(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.broken = err
}

// run is one run of one volume.
type run struct {
	volume string
	at     time.Duration // since the world began
}

func at(volume string, when time.Duration) run { return run{volume, when} }

// byTimeAndVolume is for runs at the same time, which begin in any order.
func byTimeAndVolume(a, b run) int {
	return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.volume, b.volume))
}

// runner notes jobs instead of doing them. A job takes as long as its longest volume.
type runner struct {
	world *world
	takes map[string]time.Duration
	fails func(volume string, run int) error // by the number of the run, from 0; nil for never
	lost  map[int]bool                       // runs, by number, that target "far" missed
	doubt map[int]snapshot.Contents          // runs, by number, whose snapshot is suspect
	letGo time.Duration                      // how long a job takes to end when its context has

	mu   sync.Mutex
	runs []run
	jobs [][]string // volumes of each
	now  map[string]bool
	most int // jobs at the same time
	open int // jobs
}

func (r *runner) Run(ctx context.Context, job plan.Job) (results []backup.Result) {
	numbers := r.begin(job)
	defer r.end(job)
	var takes time.Duration
	for _, v := range job.Volumes {
		takes = max(takes, r.takes[v.Name])
	}
	var ended error
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			ended = context.Cause(ctx)
			time.Sleep(r.letGo)
		}
	}
	for i, v := range job.Volumes {
		err := ended
		if r.fails != nil && err == nil {
			err = r.fails(v.Name, numbers[i])
		}
		one := result(v.Name, err)
		if c, suspect := r.doubt[numbers[i]]; suspect {
			one.Manifest.Suspect, one.Manifest.Contents, one.Err = "it is odd", c, errBroken
		}
		if r.lost[numbers[i]] {
			one.Manifest.Taken, one.AnyTarget = r.world.clock.now(), r.world.any
			one.Targets = append(one.Targets, backup.Outcome{Target: "far", Err: errBroken})
		}
		results = append(results, one)
	}
	return results
}

func result(volume string, err error) backup.Result {
	if err != nil {
		return backup.Result{Volume: volume, Err: err}
	}
	return backup.Result{Volume: volume, Manifest: snapshot.Manifest{Grade: snapshot.Frozen}, Targets: []backup.Outcome{{Target: "near"}}}
}

func (r *runner) begin(job plan.Job) (numbers []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now == nil {
		r.now = map[string]bool{}
	}
	var names []string
	for _, v := range job.Volumes {
		if r.now[v.Name] {
			r.world.t.Errorf("volume %s is run twice at the same time", v.Name)
		}
		r.now[v.Name] = true
		numbers = append(numbers, len(slices.DeleteFunc(slices.Clone(r.runs), func(past run) bool { return past.volume != v.Name })))
		r.runs = append(r.runs, run{v.Name, time.Since(r.world.began)})
		names = append(names, v.Name)
	}
	r.jobs = append(r.jobs, names)
	r.open++
	r.most = max(r.most, r.open)
	return numbers
}

func (r *runner) end(job plan.Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
	for _, v := range job.Volumes {
		delete(r.now, v.Name)
	}
}

// done gives all runs so far.
func (r *runner) done() []run {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.runs)
}

func (r *runner) running() (names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.now {
		names = append(names, name)
	}
	return names
}

var errBroken = errors.New("broken on purpose")

func always(string, int) error { return errBroken }

// logbook keeps what is logged, as lines.
type logbook struct {
	mu    sync.Mutex
	lines []string
}

func (l *logbook) Enabled(context.Context, slog.Level) bool { return true }
func (l *logbook) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logbook) WithGroup(string) slog.Handler            { return l }

func (l *logbook) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

// count tells how many lines have all these words.
func (l *logbook) count(words ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			n++
		}
	}
	return n
}
