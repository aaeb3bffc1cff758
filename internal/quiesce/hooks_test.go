package quiesce_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/snapshot"
)

// hookLog is what commands did in containers, in order.
type hookLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *hookLog) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *hookLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

// check makes sure that what was begun was ended: after each pre-hook comes a post-hook in the same container, and no session lives on.
func (l *hookLog) check(t *testing.T, ran bool) {
	t.Helper()
	lines := l.all()
	if ran && len(lines) == 0 {
		t.Error("no hook ran")
	}
	for _, name := range []string{"app", "db", "viewer"} {
		last := func(hook string) int {
			for i, line := range slices.Backward(lines) {
				if line == name+" "+hook {
					return i
				}
			}
			return -1
		}
		if last("pre") > last("post") || last("during") > last("over") {
			t.Errorf("in %s something was not brought to its end: %q", name, lines)
		}
	}
}

// program is what commands do in the containers of the world.
func (w *world) program(ctx context.Context, container string, cmd engine.Command) int {
	switch cmd.Args[0] {
	case "log":
		w.ran.add(container + " " + cmd.Args[1])
	case "fail":
		w.ran.add(container + " " + cmd.Args[1])
		fmt.Fprintln(cmd.Stderr, "no space left")
		return 3
	case "slow":
		w.ran.add(container + " " + cmd.Args[1])
		wait(ctx, time.Hour)
	case "session", "broken":
		w.ran.add(container + " during")
		fmt.Fprint(cmd.Stdout, "begin\n")
		if cmd.Args[0] == "broken" {
			wait(ctx, time.Second)
		} else {
			<-cmd.Stdin
		}
		w.ran.add(container + " over")
	}
	return 0
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// withHooks gives containers hooks.
func withHooks(mode quiesce.Mode, containers []engine.Container) []engine.Container {
	for _, c := range containers {
		c.Labels[quiesce.HookPre], c.Labels[quiesce.HookPost] = `["log", "pre"]`, `["log", "post"]`
		if c.Name == "db" && mode != quiesce.Stop {
			c.Labels[quiesce.HookDuring] = `["session"]`
		}
	}
	return containers
}

func hook(key, value string) func(*engine.Container) { return label("backupd.hook."+key, value) }

// hooks are given by container, hook and exit code.
func told(hooks []snapshot.Hook) (short []string) {
	for _, h := range hooks {
		short = append(short, strings.TrimSpace(fmt.Sprintf("%s %s %d %s", h.Container, h.Hook, h.Exit, h.Failed)))
	}
	return short
}

// What runs, in which order, and what comes of it.
func TestHooks(t *testing.T) {
	log := func(c *engine.Container) {
		hook("pre", `["log", "pre"]`)(c)
		hook("post", `["log", "post"]`)(c)
	}
	depending := service("db:service_started:false")
	tests := map[string]struct {
		mode       quiesce.Mode
		containers []engine.Container
		want       []string // done by hooks
		told       []string
		holdErr    string
		releaseErr string
		lost       string // reason, after a minute
	}{
		"around a pause, apps first": {mode: quiesce.Pause,
			containers: []engine.Container{container("db", writes, service(""), log), container("app", writes, depending, log)},
			want:       []string{"app pre", "db pre", "db post", "app post"},
			told:       []string{"app pre 0", "db pre 0", "db post 0", "app post 0"}},
		"around a stop": {mode: quiesce.Stop, containers: []engine.Container{container("app", writes, log)},
			want: []string{"app pre", "app post"}, told: []string{"app pre 0", "app post 0"}},
		"where nothing is held": {mode: quiesce.None, containers: []engine.Container{container("app", writes, log)},
			want: []string{"app pre", "app post"}, told: []string{"app pre 0", "app post 0"}},
		"in one that only reads": {mode: quiesce.Pause, containers: []engine.Container{container("app", writes), container("viewer", reads, log)},
			want: []string{"viewer pre", "viewer post"}, told: []string{"viewer pre 0", "viewer post 0"}},
		"not in strangers, nor in what does not run": {mode: quiesce.Pause,
			containers: []engine.Container{container("stranger", log), container("app", writes, in(engine.Exited), log)}},
		"only the latter": {mode: quiesce.Pause, containers: []engine.Container{container("app", writes, hook("post", `["log", "post"]`))},
			want: []string{"app post"}, told: []string{"app post 0"}},
		"the first fails": {mode: quiesce.Pause,
			containers: []engine.Container{container("app", writes, depending, log), container("db", writes, service(""), log, hook("pre", `["fail", "pre"]`)),
				container("other", writes, service(""), log)},
			want:    []string{"app pre", "db pre", "db post", "app post"},
			holdErr: `pre-hook in container "db": exit code 3: "no space left"`},
		"the latter fails": {mode: quiesce.Pause, containers: []engine.Container{container("app", writes, log, hook("post", `["fail", "post"]`))},
			want: []string{"app pre", "app post"}, told: []string{"app pre 0", "app post 3"},
			releaseErr: `post-hook in container "app": exit code 3: "no space left"`},
		"the first takes too long": {mode: quiesce.Pause,
			containers: []engine.Container{container("app", writes, log, hook("pre", `["slow", "pre"]`), hook("timeout", "90s"))},
			want:       []string{"app pre", "app post"},
			holdErr:    `pre-hook in container "app": it has not ended in its time, and goes on by itself (1m30s)`},
		"a paused one cannot run it": {mode: quiesce.Pause, containers: []engine.Container{container("app", writes, in(engine.Paused), log)},
			holdErr: `pre-hook in container "app": exec: container "app": in conflict with its present state: it is paused`},
		"a session": {mode: quiesce.Pause, containers: []engine.Container{container("db", writes, log, hook("during", `["session"]`))},
			want: []string{"db pre", "db during", "db over", "db post"}, told: []string{"db pre 0", "db during 0", "db post 0"}},
		"a session where nothing is held": {mode: quiesce.None, containers: []engine.Container{container("db", writes, hook("during", `["session"]`))},
			want: []string{"db during", "db over"}, told: []string{"db during 0"}},
		"a session that breaks": {mode: quiesce.None, containers: []engine.Container{container("db", writes, hook("during", `["broken"]`))},
			want: []string{"db during", "db over"}, told: []string{"db during 0"},
			lost: `during-hook in container "db": it ended while the volume was read`},
		"a session that is never ready": {mode: quiesce.None, containers: []engine.Container{container("db", writes, log, hook("during", `["slow", "during"]`))},
			want:    []string{"db pre", "db during", "db post"},
			holdErr: `during-hook in container "db": within 1m0s it has printed no line to say that it is ready`},
		"a session that fails": {mode: quiesce.None, containers: []engine.Container{container("db", writes, hook("during", `["fail", "during"]`))},
			want:    []string{"db during"},
			holdErr: `during-hook in container "db": exit code 3: "no space left"`},
		"a session that a stop would end": {mode: quiesce.Stop, containers: []engine.Container{container("db", writes, log, hook("during", `["session"]`))},
			holdErr: "hold it by pause or none"},
		"one that nobody understands": {mode: quiesce.Pause, containers: []engine.Container{container("db", writes, hook("pre", `["`))},
			holdErr: `container "db": backupd.hook.pre: it begins like a JSON array`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, tt.containers...)
				before := w.states(t)
				h, err := w.keeper().Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: tt.mode, Hooks: true, Limit: time.Hour})
				report := quiesce.Report{}
				switch {
				case (err == nil) != (tt.holdErr == "") || err != nil && !strings.Contains(err.Error(), tt.holdErr):
					t.Fatalf("hold: %v, want %q", err, tt.holdErr)
				case err == nil:
					time.Sleep(time.Minute)
					if isClosed(h.Lost()) != (tt.lost != "") {
						t.Errorf("lost: %v", isClosed(h.Lost()))
					}
					report, err = h.Release(t.Context())
					if (err == nil) != (tt.releaseErr == "") || err != nil && !strings.Contains(err.Error(), tt.releaseErr) {
						t.Errorf("release: %v, want %q", err, tt.releaseErr)
					}
				}
				time.Sleep(2 * time.Hour) // nothing may happen late
				if diff := cmp.Diff(tt.want, w.ran.all()); diff != "" {
					t.Error("done by hooks (-want +got):\n" + diff)
				}
				if diff := cmp.Diff(tt.told, told(report.Hooks)); diff != "" {
					t.Error("told of hooks (-want +got):\n" + diff)
				}
				if tt.lost != "" && !slices.Contains(report.Reasons, tt.lost) {
					t.Errorf("reasons %q", report.Reasons)
				}
				if diff := cmp.Diff(before, w.states(t)); diff != "" {
					t.Error("containers (-before +after):\n" + diff)
				}
			})
		})
	}
}

// No command can be run in a container that is held: each pre-hook comes before the first is, each post-hook after the last was let go.
func TestHooksRunWhileAllContainersDo(t *testing.T) {
	for _, mode := range []quiesce.Mode{quiesce.Pause, quiesce.Stop} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, withHooks(quiesce.Stop, shop())...)
			w.on = func(string, string) { w.ran.add("held") }
			h, err := w.keeper().Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: mode, Hooks: true})
			must(t, err)
			w.ran.add("read")
			_, err = h.Release(t.Context())
			must(t, err)
			want := []string{"app pre", "db pre", "viewer pre", "held", "held", "read", "viewer post", "db post", "app post"}
			if diff := cmp.Diff(want, w.ran.all()); diff != "" {
				t.Errorf("%s: %s", mode, diff)
			}
		})
	}
}

// The limit ends a session too, and its reader knows, also where nothing is held.
func TestLimitEndsASession(t *testing.T) {
	for _, mode := range []quiesce.Mode{quiesce.Pause, quiesce.None} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, container("db", writes, hook("pre", `["log", "pre"]`), hook("during", `["session"]`), hook("post", `["log", "post"]`)))
			h, err := w.keeper().Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: mode, Hooks: true, Limit: time.Minute})
			must(t, err)
			begun := time.Now()
			<-h.Lost()
			if took := time.Since(begun); took > time.Minute {
				t.Errorf("%s: lost after %s", mode, took)
			}
			synctest.Wait()
			if diff := cmp.Diff([]string{"db pre", "db during", "db over", "db post"}, w.ran.all()); diff != "" {
				t.Errorf("%s: %s", mode, diff)
			}
			_, err = h.Release(t.Context())
			must(t, err)
		})
	}
}

// A container that was made anew meanwhile gets the post-hook that its own label asks for.
func TestPostHookInASuccessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, container("app", writes, hook("pre", `["log", "pre"]`), hook("post", `["log", "post"]`)))
		h, err := w.keeper().Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause, Hooks: true})
		must(t, err)
		w.Recreate("app")
		_, err = h.Release(t.Context())
		must(t, err)
		w.ran.check(t, true)
	})
}

// A container with hooks that starts when others are held already is none whose hooks can be run.
func TestHooksOfALatecomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, container("app", writes), container("late", writes, in(engine.Exited), hook("pre", `["log", "pre"]`)))
		w.on = func(_, id string) {
			if id == "id-app" {
				w.do(t, "start", "late")
			}
		}
		_, err := w.keeper().Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause, Hooks: true})
		if err == nil || !strings.Contains(err.Error(), `container "late" has hooks and started while others were being held`) {
			t.Errorf("hold: %v", err)
		}
		if s := w.states(t); s["app"] != engine.Running || s["late"] != engine.Running || len(w.ran.all()) > 0 {
			t.Errorf("containers %v, hooks %q", s, w.ran.all())
		}
	})
}

func TestParseHooks(t *testing.T) {
	for text, want := range map[string][]string{
		`["pg_dump", "-f", "a b"]`:   {"pg_dump", "-f", "a b"},
		` ["sync"] `:                 {"sync"},
		"pg_dump >/dump":             {"sh", "-c", "pg_dump >/dump"},
		`[ -e /x ] && touch "/y"`:    {"sh", "-c", `[ -e /x ] && touch "/y"`},
		`[ "$A" = b ] || exit 1`:     {"sh", "-c", `[ "$A" = b ] || exit 1`},
		"null":                       {"sh", "-c", "null"},
		`{ echo a; cat; } | mysql`:   {"sh", "-c", `{ echo a; cat; } | mysql`},
		"":                           nil,
		"  ":                         nil,
		"[]":                         nil,
		`[""]`:                       nil,
		`["a", 1]`:                   nil,
		`["a"`:                       nil,
		"a\x00b":                     nil,
		strings.Repeat("x", 1<<20):   nil,
		`["a", "` + "\\u0000" + `"]`: nil,
	} {
		got, err := quiesce.ParseHooks(map[string]string{quiesce.HookPre: text})
		if (err == nil) != (want != nil) || !slices.Equal(got.Pre, want) {
			t.Errorf("%.40q: %q, %v, want %q", text, got.Pre, err, want)
		}
	}
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, " 5m ": 5 * time.Minute, "0": 0, "-1s": 0, "25h": 0, "5": 0, "": 0} {
		got, err := quiesce.ParseHooks(map[string]string{quiesce.HookTimeout: text})
		if (err == nil) != (want > 0) || got.Timeout != want {
			t.Errorf("%q: %v, %v, want %v", text, got.Timeout, err, want)
		}
	}
}

// The tasks of a service that was scaled to nothing are gone: their post-hooks run in those that come.
func TestPostHookInATaskThatComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		task := taskOf(writes, hook("pre", `["log", "pre"]`), hook("post", `["log", "post"]`))
		task.Exec = func(ctx context.Context, cmd engine.Command) int { return w.program(ctx, "task", cmd) }
		w.AddService(engine.Service{ID: "s1", Name: "shop", Replicas: 1, StopTimeout: 4 * time.Second}, task)
		request := stop(false)
		request.Hooks = true
		h, err := w.keeper().Hold(t.Context(), request)
		must(t, err)
		_, err = h.Release(t.Context())
		must(t, err)
		if diff := cmp.Diff([]string{"task pre", "task post"}, w.ran.all()); diff != "" {
			t.Error(diff)
		}
	})
}
