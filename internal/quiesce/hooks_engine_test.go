package quiesce_test

import (
	"strings"
	"testing"
	"time"

	api "github.com/docker/docker/api/types/container"
	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/testenv"
)

// hooked starts a container that has the volume at /data, with labels.
func (r *real) hooked(image string, labels map[string]string, cmd ...string) string {
	c := testenv.Container{Name: "hooked"}
	c.Image, c.Cmd, c.Labels = image, cmd, labels
	c.HostConfig.Binds = []string{r.volume.Name + ":/data"}
	return r.Run(c)
}

func (r *real) holdWithHooks(t *testing.T, mode quiesce.Mode) (quiesce.Holding, error) {
	t.Helper()
	k := quiesce.New(r.client, quiesce.Options{Dir: t.TempDir(), Now: time.Now})
	return k.Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{r.volume}, Mode: mode, Limit: time.Minute, Hooks: true})
}

func TestHooksOnRealEngine(t *testing.T) {
	mark := func(name string) string { return "echo " + name + " >>/data/log" }
	for name, tt := range map[string]struct {
		mode   quiesce.Mode
		labels map[string]string
		held   string // in the log then
		after  string
		told   []string
		err    string
	}{
		"pause": {quiesce.Pause, map[string]string{quiesce.HookPre: mark("pre"), quiesce.HookPost: `["sh", "-c", "` + mark("post") + `"]`},
			"pre", "pre post", []string{"pre 0", "post 0"}, ""},
		"stop": {quiesce.Stop, map[string]string{quiesce.HookPre: mark("pre"), quiesce.HookPost: mark("post")},
			"pre", "pre post", []string{"pre 0", "post 0"}, ""},
		"a session in a pause": {quiesce.Pause, map[string]string{quiesce.HookDuring: mark("begin") + "; echo ready; cat; " + mark("end"), quiesce.HookPost: mark("post")},
			"begin", "begin end post", []string{"during 0", "post 0"}, ""},
		"a session without a hold": {quiesce.None, map[string]string{quiesce.HookDuring: mark("begin") + "; echo ready; cat; " + mark("end")},
			"begin", "begin end", []string{"during 0"}, ""},
		"what reads its input does not hang": {quiesce.Pause, map[string]string{quiesce.HookPre: "cat; " + mark("pre")},
			"pre", "pre", []string{"pre 0"}, ""},
		"a failure": {quiesce.Pause, map[string]string{quiesce.HookPre: mark("pre") + "; echo no luck >&2; exit 7", quiesce.HookPost: mark("post")},
			"", "pre post", nil, `exit code 7: "no luck"`},
		"a program that is not there": {quiesce.Pause, map[string]string{quiesce.HookPre: `["no-such-program"]`, quiesce.HookPost: mark("post")},
			"", "post", nil, "no-such-program"},
		"one that does not end": {quiesce.Pause, map[string]string{quiesce.HookPre: "sleep 1000", quiesce.HookTimeout: "300ms", quiesce.HookPost: mark("post")},
			"", "post", nil, "it has not ended in its time"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReal(t)
			id := r.hooked(r.image, tt.labels, "/bin/sh", "-c", testenv.Wait)
			log := func() string { return strings.Join(strings.Fields(r.Exec(id, "cat", "/data/log")), " ") }
			h, err := r.holdWithHooks(t, tt.mode)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("hold: %v, want %q", err, tt.err)
			}
			if err == nil {
				reader := r.run("reader", "cat /data/log; "+testenv.Wait, api.HostConfig{Binds: []string{r.volume.Name + ":/data:ro"}})
				r.WaitLog(reader, tt.held)
				if got := strings.Join(strings.Fields(r.Logs(reader)), " "); got != tt.held {
					t.Errorf("while held there is %q, want %q", got, tt.held)
				}
				report, err := h.Release(t.Context())
				must(t, err)
				var short []string
				for _, line := range told(report.Hooks) {
					_, rest, _ := strings.Cut(line, " ")
					short = append(short, rest)
				}
				if diff := cmp.Diff(tt.told, short); diff != "" {
					t.Error("told of hooks (-want +got):\n" + diff)
				}
			}
			if now := r.state(t, id); now != engine.Running {
				t.Fatalf("it is %s afterwards", now)
			}
			if got := log(); got != tt.after {
				t.Errorf("afterwards there is %q, want %q", got, tt.after)
			}
		})
	}
}

// A lock that is held by a hook lasts as long as the hold, also when nobody releases that.
func TestSessionOfPostgresOnRealEngine(t *testing.T) {
	const update = "SET lock_timeout = '300ms'; UPDATE t SET i = i + 1"
	r := newReal(t)
	id := r.hooked(r.PostgresImage(), map[string]string{
		quiesce.HookPre:    "psql -c CHECKPOINT",
		quiesce.HookDuring: `{ echo "BEGIN; LOCK TABLE t IN SHARE MODE; SELECT 'ready';"; cat; } | psql -qAt -v ON_ERROR_STOP=1`,
	})
	r.WaitLog(id, testenv.PostgresReady)
	r.Exec(id, "psql", "-qc", "CREATE TABLE t AS SELECT 1 AS i")
	h, err := r.holdWithHooks(t, quiesce.None)
	must(t, err)
	if out, err := r.TryExec(id, "psql", "-qc", update); err == nil || !strings.Contains(err.Error(), "lock timeout") {
		t.Errorf("the table is not locked: %q, %v", out, err)
	}
	_, err = h.Release(t.Context())
	must(t, err)
	r.Exec(id, "psql", "-qc", update)
}
