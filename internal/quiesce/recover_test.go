package quiesce_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/quiesce"
)

// mortal is the world as a process sees it that dies at one of its calls: from then on it does nothing any more, and what it has left on
// disk is taken over at once.
type mortal struct {
	*world
	at    int
	when  string // "before", "after" or "long before" the call's effect
	calls int
	dead  bool
	died  func()

	life   context.Context // its connections end with it
	hangUp context.CancelFunc
}

var errDead = fmt.Errorf("the process is dead: %w", engine.ErrUnreachable)

func (m *mortal) call(effect func(ctx context.Context) error) error {
	m.calls++
	if m.dead || m.at == 0 || m.calls < m.at {
		if m.dead {
			return errDead
		}
		return effect(context.Background())
	}
	m.dead = true
	defer m.died()
	defer m.hangUp()
	switch m.when {
	case "after":
		if err := effect(context.Background()); err != nil {
			return err
		}
	case "long before": // the engine goes on with what it was asked for
		time.AfterFunc(3*time.Second, func() { _ = effect(context.Background()) }) // in conflict, where recover was quicker
	}
	return errDead
}

// look is a call whose answer nobody takes when it comes late.
func look[T any](m *mortal, ask func(context.Context) (T, error)) (seen T, err error) {
	answers := make(chan T, 1)
	err = m.call(func(ctx context.Context) error {
		answer, err := ask(ctx)
		answers <- answer
		return err
	})
	if err == nil {
		seen = <-answers
	}
	return seen, err
}

func (m *mortal) Containers(context.Context) ([]engine.Container, error) {
	return look(m, m.operator.Containers)
}

func (m *mortal) Container(_ context.Context, id string) (engine.Container, error) {
	return look(m, func(ctx context.Context) (engine.Container, error) { return m.operator.Container(ctx, id) })
}

func (m *mortal) Service(_ context.Context, id string) (engine.Service, error) {
	return look(m, func(ctx context.Context) (engine.Service, error) { return m.operator.Service(ctx, id) })
}

func (m *mortal) Scale(_ context.Context, id string, from, to uint64) error {
	return m.call(func(ctx context.Context) error { return m.operator.Scale(ctx, id, from, to) })
}

func (m *mortal) Pause(_ context.Context, id string) error {
	return m.call(func(ctx context.Context) error { return m.operator.Pause(ctx, id) })
}

func (m *mortal) Unpause(_ context.Context, id string) error {
	return m.call(func(ctx context.Context) error { return m.operator.Unpause(ctx, id) })
}

func (m *mortal) Stop(_ context.Context, id string, timeout time.Duration) error {
	return m.call(func(ctx context.Context) error { return m.operator.Stop(ctx, id, timeout) })
}

func (m *mortal) Start(_ context.Context, id string) error {
	return m.call(func(ctx context.Context) error { return m.operator.Start(ctx, id) })
}

func (m *mortal) Exec(_ context.Context, id string, cmd engine.Command) (int, error) {
	return look(m, func(context.Context) (int, error) { return m.operator.Exec(m.life, id, cmd) })
}

// left copies what a process that dies now leaves on disk: the same files, which nobody has locked.
func (w *world) left(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS(w.dir)))
	return dir
}

// successor gives the keeper of another process, that finds this folder.
func (w *world) successor(dir string) *quiesce.Keeper {
	return quiesce.New(w.operator, quiesce.Options{Dir: dir, Engine: "engine", Now: time.Now})
}

// At whichever call a process dies, before or after the call took effect or when it takes effect later: what ran runs again once another
// has recovered what it left, nothing else was started, and no journal is left.
func TestAfterAnyDeathAllContainersRunAgain(t *testing.T) {
	for _, req := range []quiesce.Request{
		{Volumes: []engine.Volume{data}, Mode: quiesce.Pause},
		{Volumes: []engine.Volume{data}, Mode: quiesce.Stop},
		{Volumes: []engine.Volume{data}, Readers: true},
		{Volumes: []engine.Volume{data}, Mode: quiesce.Pause, Hooks: true},
		{Volumes: []engine.Volume{data}, Mode: quiesce.Stop, Hooks: true},
		{Volumes: []engine.Volume{data}, Mode: quiesce.None, Hooks: true},
	} {
		name := fmt.Sprintf("%s, readers %v, hooks %v", req.Mode, req.Readers, req.Hooks)
		calls := die(t, name, req, &mortal{})
		if calls < 8 {
			t.Fatalf("%s: a run without a death makes %d calls", name, calls)
		}
		for at := 1; at <= calls; at++ {
			for _, when := range []string{"before", "after", "long before"} {
				die(t, fmt.Sprintf("%s, at call %d, %s its effect", name, at, when), req, &mortal{at: at, when: when})
			}
		}
	}
}

// die holds and lets go once, and gives the number of calls that took.
func die(t *testing.T, name string, req quiesce.Request, m *mortal) (calls int) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m.world = newWorld(t, withHooks(req.Mode, shop())...)
			var life context.Context
			life, m.hangUp = context.WithCancel(t.Context())
			defer m.hangUp()
			m.life = life
			service := m.addService()
			want := states{"app": engine.Running, "db": engine.Running, "viewer": engine.Running, "old": engine.Exited}
			m.died = func() {
				dir := m.left(t)
				for range 2 { // twice does no harm
					_, err := m.successor(dir).Recover(t.Context())
					must(t, err)
				}
				time.Sleep(10 * time.Minute) // nothing may happen late
				if diff := cmp.Diff(want, m.states(t)); diff != "" {
					t.Errorf("after recover: %s", diff)
				}
				if running, _ := m.tasks(t, service.ID); running != 2 {
					t.Errorf("after recover %d tasks of the service run", running)
				}
				if left, err := filepath.Glob(filepath.Join(dir, "*.journal")); err != nil || len(left) > 0 {
					t.Errorf("journals %q are left (%v)", left, err)
				}
				m.ran.check(t, false)
			}
			k := quiesce.New(m, quiesce.Options{Dir: m.dir, Engine: "engine", Now: time.Now})
			if h, err := k.Hold(t.Context(), req); err == nil {
				_, _ = h.Release(t.Context()) // a dead process's errors are nobody's
			}
			m.ran.check(t, req.Hooks && m.at == 0)
			calls = m.calls
		})
	})
	return calls
}

func TestRecoverLeavesAlone(t *testing.T) {
	tests := map[string]struct {
		mode quiesce.Mode
		do   [][2]string // what operators do after the process died
		want engine.State
	}{
		"what somebody resumed":                        {quiesce.Pause, [][2]string{{"unpause", "db"}}, engine.Running},
		"what somebody stopped while it was paused":    {quiesce.Pause, [][2]string{{"stop", "db"}}, engine.Exited},
		"what somebody started, and stopped again":     {quiesce.Stop, [][2]string{{"start", "db"}, {"stop", "db"}}, engine.Exited},
		"what somebody started":                        {quiesce.Stop, [][2]string{{"start", "db"}}, engine.Running},
		"what somebody started and paused for himself": {quiesce.Stop, [][2]string{{"start", "db"}, {"pause", "db"}}, engine.Paused},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, shop()...)
				h, err := w.keeper().Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: tt.mode})
				must(t, err)
				dir := w.left(t)
				for _, do := range tt.do {
					time.Sleep(time.Second)
					w.do(t, do[0], do[1])
				}
				resumed, err := w.successor(dir).Recover(t.Context())
				must(t, err)
				if diff := cmp.Diff([]string{"app"}, resumed); diff != "" {
					t.Error("resumed (-want +got):\n" + diff)
				}
				if got := w.states(t); got["db"] != tt.want || got["app"] != engine.Running {
					t.Errorf("containers: %v, want db %s", got, tt.want)
				}
				_, _ = h.Release(t.Context()) // which finds that somebody else did it all
			})
		})
	}
}

func TestRecoverLeavesAloneWhatALivingProcessHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, shop()...)
		h, err := w.keeper().Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause})
		must(t, err)
		resumed, err := w.successor(w.dir).Recover(t.Context())
		must(t, err)
		if len(resumed) > 0 || w.states(t)["db"] != engine.Paused {
			t.Errorf("resumed %q; containers: %v", resumed, w.states(t))
		}
		_, err = h.Release(t.Context())
		must(t, err)
	})
}

// A container whose engine went down while it was paused has ended without anybody having wanted it.
func TestRecoverStartsWhatAnEngineTookDownWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, shop()...)
		h, err := w.keeper().Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause})
		must(t, err)
		dir := w.left(t)
		time.Sleep(time.Second)
		w.do(t, "stop", "db")
		resumed, err := quiesce.New(&forgets{w}, quiesce.Options{Dir: dir, Engine: "engine", Now: time.Now}).Recover(t.Context())
		must(t, err)
		if diff := cmp.Diff([]string{"app", "db"}, resumed); diff != "" || w.states(t)["db"] != engine.Running {
			t.Errorf("containers: %v; resumed (-want +got):\n%s", w.states(t), diff)
		}
		_, _ = h.Release(t.Context())
	})
}

// One that still ran when the engine was back may yet be ended by its having gone down.
func TestRecoverStartsWhatEndsLaterBecauseTheEngineWentDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, shop()...)
		calls := 0
		dies := &dying{world: w, died: func() {
			if calls++; calls > 1 {
				return
			}
			dir := w.left(t)
			time.AfterFunc(time.Second, func() { w.do(t, "stop", "app") })
			resumed, err := quiesce.New(&forgets{w}, quiesce.Options{Dir: dir, Engine: "engine", Now: time.Now}).Recover(t.Context())
			must(t, err)
			if diff := cmp.Diff([]string{"app"}, resumed); diff != "" || w.states(t)["app"] != engine.Running {
				t.Errorf("containers: %v; resumed (-want +got):\n%s", w.states(t), diff)
			}
		}}
		k := quiesce.New(dies, quiesce.Options{Dir: w.dir, Engine: "engine", Now: time.Now})
		_, _ = k.Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause}) // what a dead process gets is nobody's
		if calls == 0 {
			t.Error("nothing was paused")
		}
	})
}

// No line of a file that no hold has written is believed, and the file is kept for people to look at.
func TestRecoverSetsAside(t *testing.T) {
	const first = `{"format":"backupd hold 1","engine":"engine","at":"2000-01-01T00:00:00Z"}` + "\n"
	step := func(id, how string) string {
		return fmt.Sprintf(`{"at":"2000-01-01T00:00:00Z","step":{"Container":{"ID":%q,"Name":"old"},"How":%q}}`+"\n", id, how)
	}
	for name, text := range map[string]string{
		"another format":            `{"format":"backupd hold 2","engine":"engine"}` + "\n" + step("id-old", "stop"),
		"no header":                 step("id-old", "stop"),
		"what is no JSON":           first + step("id-old", "stop") + "\x00\x00\x00\n",
		"an id that is a path":      first + step("../id-old", "stop"),
		"nothing that is ever done": first + step("id-old", "kill"),
		"no id":                     first + step("", "stop"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, shop()...)
				path := filepath.Join(w.dir, "X.journal")
				must(t, os.WriteFile(path, []byte(text), 0o600))
				_, err := w.keeper().Recover(t.Context())
				if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "X.refused") {
					t.Errorf("error %v, want one that names the file and what became of it", err)
				}
				if kept, err := os.ReadFile(filepath.Join(w.dir, "X.refused")); err != nil || string(kept) != text {
					t.Errorf("kept %q (%v)", kept, err)
				}
				if s := w.states(t)["old"]; s != engine.Exited {
					t.Errorf("container old is %s", s)
				}
				_, err = w.keeper().Recover(t.Context())
				must(t, err)
			})
		})
	}
}

func TestRecoverOfOtherFiles(t *testing.T) {
	w := newWorld(t, shop()...)
	path := filepath.Join(w.dir, "X.journal")
	for name, make := range map[string]func() error{
		"a symlink": func() error { return os.Symlink("/dev/zero", path) },
		"a folder":  func() error { return os.Mkdir(path, 0o700) },
		"a file that others can write to": func() error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o622))
		},
		"a file that is too long": func() error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<30)) },
	} {
		must(t, make())
		if _, err := w.keeper().Recover(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v", name, err)
		}
		must(t, os.RemoveAll(filepath.Join(w.dir, "X.refused")))
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: it is still there (%v)", name, err)
		}
	}
}

// A crash can cut the last line off anywhere. What it was about had not begun.
func TestRecoverOfAJournalCutAnywhere(t *testing.T) {
	var whole []byte
	hold := func(t *testing.T) (*world, quiesce.Holding) {
		w := newWorld(t, shop()...)
		h, err := w.keeper().Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause})
		must(t, err)
		found, err := filepath.Glob(filepath.Join(w.dir, "*.journal"))
		must(t, err)
		whole, err = os.ReadFile(found[0])
		must(t, err)
		return w, h
	}
	synctest.Test(t, func(t *testing.T) { // for its length
		_, h := hold(t)
		_, err := h.Release(t.Context())
		must(t, err)
	})
	for cut := 0; cut <= len(whole); cut += 7 {
		synctest.Test(t, func(t *testing.T) {
			w, h := hold(t)
			dir := t.TempDir()
			text := whole[:min(cut, len(whole))]
			must(t, os.WriteFile(filepath.Join(dir, "X.journal"), text, 0o600))
			_, err := w.successor(dir).Recover(t.Context())
			must(t, err)
			for _, name := range []string{"app", "db"} {
				begun := strings.Contains(string(text[:strings.LastIndexByte(string(text), '\n')+1]), `"step":{"Container":{"ID":"id-`+name)
				if got := w.states(t)[name]; begun != (got == engine.Running) {
					t.Errorf("cut at %d: %s is %s, and its step is there: %v", cut, name, got, begun)
				}
			}
			_, _ = h.Release(t.Context())
		})
	}
}

func TestRecoverOfAnotherEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, shop()...)
		h, err := w.keeper().Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause})
		must(t, err)
		dir := w.left(t)
		other := quiesce.New(w.operator, quiesce.Options{Dir: dir, Engine: "other", Now: time.Now})
		if _, err := other.Recover(t.Context()); err == nil || !strings.Contains(err.Error(), "DOCKER_HOST") || w.states(t)["db"] != engine.Paused {
			t.Errorf("error %v; containers: %v", err, w.states(t))
		}
		_, err = w.successor(dir).Recover(t.Context())
		must(t, err)
		if w.states(t)["db"] != engine.Running {
			t.Errorf("containers: %v", w.states(t))
		}
		_, _ = h.Release(t.Context())
	})
}

// What cannot be written down is not begun.
func TestNothingIsHeldWithoutAJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, shop()...)
		file := filepath.Join(w.dir, "file")
		must(t, os.WriteFile(file, nil, 0o600))
		paused := 0
		w.on = func(string, string) { paused++ }
		k := quiesce.New(w, quiesce.Options{Dir: file, Engine: "engine", Now: time.Now})
		if _, err := k.Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause}); err == nil || paused > 0 {
			t.Errorf("%d containers were paused; error %v", paused, err)
		}
	})
}

// forgets is an engine that has been restarted: it tells nothing of what was before.
type forgets struct{ *world }

func (f *forgets) Events(ctx context.Context, _ time.Time) iter.Seq2[engine.Event, error] {
	return f.world.Events(ctx, time.Now())
}

// dying is an engine as a process sees it that dies whenever it pauses something.
type dying struct {
	*world
	died func()
}

func (d *dying) Pause(context.Context, string) error {
	d.died()
	return errDead
}
