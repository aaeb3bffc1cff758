package torture

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"github.com/backupd/backupd/internal/testenv"
)

// scene is what is backed up. The database and the cache are held by pausing, with the site, which depends on the database and uses
// both their volumes, so that all three are one job; the office is stopped.
type scene struct {
	engine  *testenv.OwnEngine
	db      string
	all     map[string]string // name of each container by its id
	volumes map[string]string // name of each volume, by what it is here
}

// scribble writes lines until it is told to stop, and takes its time then.
const scribble = `trap 'sleep 0.5; exit' TERM; while :; do echo line >>$0/lines; sleep 0.05 & wait $!; done`

// work has pgbench work as hard as a backup on the same machine can bear, once there are its tables and whenever the database is back. It is
// not the test that runs it there: engines 20.10 were seen to hang for good when a container is paused while a command starts in it.
const work = `(while :; do [ -e /tmp/ready ] && pgbench -n -c 2 -R 100 -T 60 >/dev/null 2>&1 || sleep 0.3; done) & exec sh $0 "$@"`

func newScene(t *testing.T, e *testenv.OwnEngine) *scene {
	s := &scene{engine: e, all: make(map[string]string), volumes: make(map[string]string)}
	for name, quiesce := range map[string]string{"database": "pause", "files": "pause", "papers": "stop"} {
		s.volumes[name] = e.Volume(name, map[string]string{"backupd.enable": "true", "backupd.quiesce": quiesce}, nil)
	}
	// What it writes ahead is to stay small, as every backup takes it along.
	s.db = s.run("db", "", container.Config{Image: e.PostgresImage(), Cmd: []string{"sh", "-c", work, "/start",
		"-c", "max_wal_size=32MB", "-c", "min_wal_size=32MB", "-c", "shared_buffers=16MB"}}, s.volumes["database"]+":/data")
	s.run("site", "db:service_started:true", writer(e, "/files"), s.volumes["files"]+":/files", s.volumes["database"]+":/database")
	s.run("cache", "", writer(e, "/files"), s.volumes["files"]+":/files")
	s.run("office", "", writer(e, "/papers"), s.volumes["papers"]+":/papers")
	e.WaitLog(s.db, testenv.PostgresReady)
	e.Exec(s.db, "pgbench", "-i", "-s", "1", "--quiet")
	e.Exec(s.db, "pgbench", "-n", "-t", "10")
	e.Exec(s.db, "psql", "-c", "create extension amcheck")
	e.Exec(s.db, "touch", "/tmp/ready")
	return s
}

func writer(e *testenv.OwnEngine, dir string) container.Config {
	seconds := int(stopTimeout.Seconds())
	return container.Config{Image: e.ShellImage(), Cmd: []string{"sh", "-c", scribble, dir}, StopTimeout: &seconds}
}

func (s *scene) run(name, needs string, c container.Config, binds ...string) string {
	c.Labels = map[string]string{"com.docker.compose.project": "torture", "com.docker.compose.service": name}
	if needs != "" {
		c.Labels["com.docker.compose.depends_on"] = needs
	}
	id := s.engine.Run(testenv.Container{Name: name, Config: c, HostConfig: container.HostConfig{
		Binds: binds, RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyUnlessStopped}}})
	s.all[id] = name
	return id
}

// awake are the containers with processes that are not frozen. It asks no engine.
func (s *scene) awake() map[string]bool {
	awake := make(map[string]bool)
	for id := range s.all {
		found, _ := filepath.Glob(filepath.Join("/sys/fs/cgroup", "*", "backupd-test", "*", id, "freezer.state"))
		v2, _ := filepath.Glob(filepath.Join("/sys/fs/cgroup", "backupd-test", "*", id, "cgroup.freeze"))
		for _, path := range append(found, v2...) {
			state, err := os.ReadFile(path)
			awake[id] = err == nil && (string(state) == "THAWED\n" || string(state) == "0\n")
		}
	}
	return awake
}

// each is every container.
func (s *scene) each() map[string]bool {
	all := make(map[string]bool)
	for id := range s.all {
		all[id] = true
	}
	return all
}

// revive starts containers, as an operator would.
func (s *scene) revive(ctx context.Context, ids map[string]bool) error {
	var errs []error
	for id := range ids {
		errs = append(errs, s.engine.API.ContainerStart(ctx, id, container.StartOptions{}))
	}
	return errors.Join(errs...)
}

// down are the containers that do not run, each with its state; excused ones are left out.
func (s *scene) down(ctx context.Context, excused map[string]bool) (names []string, err error) {
	list, err := s.engine.API.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil, err
	}
	running, awake := 0, s.awake()
	for _, c := range list {
		name, ours := s.all[c.ID]
		switch {
		case !ours:
			continue
		case c.State == container.StateRunning && awake[c.ID] || excused[c.ID]:
			running++
		case c.State == container.StateRunning:
			names = append(names, name+" is frozen")
		default:
			names = append(names, name+" is "+c.State)
		}
	}
	if running+len(names) != len(s.all) {
		names = append(names, "a container is gone")
	}
	return names, nil
}

// strangers are containers that somebody left behind.
func (s *scene) strangers(ctx context.Context) (names []string, err error) {
	list, err := s.engine.API.ContainerList(ctx, container.ListOptions{All: true})
	for _, c := range list {
		if s.all[c.ID] == "" {
			names = append(names, strings.Join(c.Names, " "))
		}
	}
	return names, err
}

// beside is what lies beside the data of the volumes, and is not the engine's.
func (s *scene) beside(ctx context.Context) (paths []string, err error) {
	for _, name := range s.volumes {
		v, err := s.engine.API.VolumeInspect(ctx, name)
		if err != nil {
			return nil, err
		}
		entries, err := os.ReadDir(filepath.Dir(v.Mountpoint))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.Name() != "_data" && e.Name() != "opts.json" {
				paths = append(paths, filepath.Join(filepath.Dir(v.Mountpoint), e.Name()))
			}
		}
	}
	return paths, nil
}

// watch sends a word about each thing that happens to the containers, until ctx ends.
func (s *scene) watch(ctx context.Context) <-chan string {
	seen := make(chan string, 1000)
	all, failed := s.engine.API.Events(ctx, events.ListOptions{Filters: filters.NewArgs(filters.Arg("type", "container"))})
	go func() {
		for {
			select {
			case e := <-all:
				if s.all[e.Actor.ID] != "" && !strings.HasPrefix(string(e.Action), "exec_") {
					seen <- time.Unix(0, e.TimeNano).Format(time.StampMilli+" ") + s.all[e.Actor.ID] + " " + string(e.Action)
				}
			case <-failed: // the engine, or the round, has ended
				return
			}
		}
	}()
	return seen
}

// all are the words that have been sent so far.
func all(seen <-chan string) (words string) {
	for range len(seen) {
		words += <-seen + "\n"
	}
	return words
}
