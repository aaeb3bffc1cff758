package quiesce

import (
	"strings"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/engine"
)

// The state at the end speaks for itself, also where the events have told nothing.
func TestMoved(t *testing.T) {
	first, second := time.Unix(1, 0), time.Unix(2, 0)
	at := func(s engine.State, started time.Time) []engine.Container {
		return []engine.Container{{ID: "1", Name: "db", State: s, Started: started, Mounts: []engine.Mount{{Volume: "data"}}}}
	}
	for name, tt := range map[string]struct {
		how   How
		after []engine.Container
		want  string
	}{
		"paused still":                {Pause, at(engine.Paused, first), ""},
		"stopped still":               {Stop, at(engine.Exited, first), ""},
		"paused, found running":       {Pause, at(engine.Running, first), "found running"},
		"paused, found exited":        {Pause, at(engine.Exited, first), "found exited"},
		"paused, found in a new run":  {Pause, at(engine.Paused, second), "started again"},
		"paused, gone":                {Pause, nil, "removed"},
		"stopped, found running":      {Stop, at(engine.Running, second), "found running"},
		"stopped, found paused":       {Stop, at(engine.Paused, second), "found paused"},
		"stopped, ended a second run": {Stop, at(engine.Exited, second), "started again"},
		"stopped, gone":               {Stop, nil, ""},
		"stopped, another in its place": {Stop, []engine.Container{
			{ID: "2", Name: "db", State: engine.Running, Mounts: []engine.Mount{{Volume: "data"}}},
		}, "started meanwhile"},
	} {
		t.Run(name, func(t *testing.T) {
			req := Request{Volumes: []engine.Volume{{Name: "data"}}, Mode: Mode(tt.how)}
			step := Step{Container: engine.Container{ID: "1", Name: "db", Started: first}, How: tt.how}
			got := strings.Join(moved(req, []Step{step}, Plan{}, "", tt.after), "; ")
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
