package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/quiesce"
)

// due is a volume in a group, that is mounted by containers: "web", "web:ro", "web:exited", "web:hook",
// or "web:task" for one of a swarm service that all such are of.
func due(name, group string, mode quiesce.Mode, containers ...string) Volume {
	v := Volume{Volume: engine.Volume{Name: name}}
	v.Group.Value, v.Quiesce.Value = group, mode
	for _, text := range containers {
		id, how, _ := strings.Cut(text, ":")
		c := engine.Container{ID: id, State: engine.Running, Mounts: []engine.Mount{{Volume: name, ReadOnly: how == "ro"}}}
		switch how {
		case "", "ro":
		case "hook":
			c.Labels = map[string]string{quiesce.HookPre: "sync"}
		case "task":
			c.Labels = map[string]string{"com.docker.swarm.task.id": id, "com.docker.swarm.service.id": "service"}
		default:
			c.State = engine.State(how)
		}
		v.Containers = append(v.Containers, c)
	}
	return v
}

func TestJobs(t *testing.T) {
	const pause, stop, none = quiesce.Pause, quiesce.Stop, quiesce.None
	tests := map[string]struct {
		due  []Volume
		want string // names, jobs with "|" in between
	}{
		"nothing is due":                 {nil, ""},
		"nothing in common":              {[]Volume{due("b", "", pause, "db"), due("a", "", pause, "web")}, "a | b"},
		"one container writes to both":   {[]Volume{due("b", "", pause, "web"), due("a", "", stop, "web")}, "a b"},
		"by way of a third":              {[]Volume{due("a", "", pause, "x"), due("b", "", pause, "y"), due("c", "", pause, "x", "y")}, "a b c"},
		"one only reads":                 {[]Volume{due("a", "", pause, "web"), due("b", "", pause, "web:ro")}, "a | b"},
		"it does not run":                {[]Volume{due("a", "", pause, "web:exited"), due("b", "", pause, "web:exited")}, "a | b"},
		"it is paused by somebody":       {[]Volume{due("a", "", pause, "web:paused"), due("b", "", pause, "web:paused")}, "a b"},
		"one asks for no hold":           {[]Volume{due("a", "", pause, "web"), due("b", "", none, "web")}, "a | b"},
		"none holds, a hook is run once": {[]Volume{due("a", "", none, "web:hook"), due("b", "", none, "web:hook"), due("c", "", pause, "web:hook")}, "a b | c"},
		"tasks of one service":           {[]Volume{due("a", "", pause, "1:task"), due("b", "", pause, "2:task")}, "a | b"},
		"tasks of a service that scales": {[]Volume{due("a", "", stop, "1:task"), due("b", "", stop, "2:task")}, "a b"},
		"a group":                        {[]Volume{due("a", "shop", pause, "web"), due("b", "", pause, "db"), due("c", "shop", none)}, "a c | b"},
		"two groups":                     {[]Volume{due("a", "x", pause), due("b", "y", pause), due("c", "x", pause), due("d", "y", pause)}, "a c | b d"},
		"two groups with one container":  {[]Volume{due("a", "x", pause, "web"), due("b", "y", pause, "web"), due("c", "y", pause)}, "a b c"},
		"a group named like a container": {[]Volume{due("a", "web", pause), due("b", "", pause, "web")}, "a | b"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for range 2 { // as given, and the other way round
				var got []string
				for _, j := range Jobs(tt.due) {
					var names []string
					for _, v := range j.Volumes {
						names = append(names, v.Name)
					}
					got = append(got, strings.Join(names, " "))
				}
				if strings.Join(got, " | ") != tt.want {
					t.Errorf("jobs are %q, want %q", got, tt.want)
				}
				slices.Reverse(tt.due)
			}
		})
	}
}
