package quiesce_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	api "github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/docker"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/testenv"
)

// real is a volume on the private engine.
type real struct {
	*testenv.Docker
	client *docker.Client
	volume engine.Volume
	image  string
}

func newReal(t *testing.T) *real {
	return newRealOn(t, testenv.NewDocker(t))
}

func newRealOn(t *testing.T, d *testenv.Docker) *real {
	client, err := docker.Open(t.Context(), docker.Options{Host: d.Host})
	must(t, err)
	t.Cleanup(func() { must(t, client.Close()) })
	r := &real{Docker: d, client: client, image: d.ShellImage()}
	r.volume, err = client.Volume(t.Context(), d.Volume("data", nil, nil))
	must(t, err)
	return r
}

// run starts a container that has the volume at /data, by a bind as it would be given to docker run -v.
func (r *real) run(name, script string, host api.HostConfig) (id string) {
	if host.Binds == nil {
		host.Binds = []string{r.volume.Name + ":/data"}
	}
	c := testenv.Container{Name: name, HostConfig: host}
	c.Image, c.Cmd = r.image, []string{"/bin/sh", "-c", script}
	return r.Run(c)
}

func (r *real) state(t *testing.T, id string) engine.State {
	t.Helper()
	c, err := r.client.Container(t.Context(), id)
	must(t, err)
	return c.State
}

func (r *real) hold(t *testing.T, mode quiesce.Mode) quiesce.Holding {
	t.Helper()
	k := quiesce.New(r.client, quiesce.Options{Dir: t.TempDir(), Now: time.Now})
	h, err := k.Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{r.volume}, Mode: mode, Limit: time.Minute})
	must(t, err)
	return h
}

// writer writes all the time and ends when it is told to.
const writer = "trap exit TERM; i=0; while :; do i=$((i+1)); echo $i >/data/n; done"

func TestHoldOnRealEngine(t *testing.T) {
	r := newReal(t)
	id := r.run("writer", writer, api.HostConfig{})
	for _, tt := range []struct {
		mode  quiesce.Mode
		held  engine.State
		grade snapshot.Grade
	}{
		{quiesce.Pause, engine.Paused, snapshot.Frozen},
		{quiesce.Stop, engine.Exited, snapshot.Cold},
		{quiesce.None, engine.Running, snapshot.Fuzzy},
	} {
		t.Run(tt.mode.String(), func(t *testing.T) {
			h := r.hold(t, tt.mode)
			held := r.state(t, id)
			report, err := h.Release(t.Context())
			must(t, err)
			if held != tt.held || report.Grade != tt.grade {
				t.Errorf("it was %s while held, and the grade is %s (%q)", held, report.Grade, report.Reasons)
			}
			if now := r.state(t, id); now != engine.Running {
				t.Errorf("it is %s afterwards", now)
			}
			t.Logf("held: %v", report.Held)
		})
	}
}

// What others do while a hold stands is seen, whatever the engine tells of it.
func TestInterventionsOnRealEngine(t *testing.T) {
	for name, tt := range map[string]struct {
		do     func(t *testing.T, r *real, id string)
		reason string
		after  engine.State
	}{
		"unpause": {func(t *testing.T, r *real, id string) { must(t, r.client.Unpause(t.Context(), id)) }, "(unpause)", engine.Running},
		"stop": {func(t *testing.T, r *real, id string) { must(t, r.client.Stop(t.Context(), id, time.Second)) },
			"let container", engine.Exited},
		"restart": {func(t *testing.T, r *real, id string) {
			must(t, r.API.ContainerRestart(t.Context(), id, api.StopOptions{}))
		}, "let container", engine.Running},
		"a short-lived writer": {func(_ *testing.T, r *real, _ string) {
			r.run("short", "echo 0 >/data/n", api.HostConfig{AutoRemove: true})
		}, "mounted by container", engine.Running},
		"a writer through the volume's folder": {func(_ *testing.T, r *real, _ string) {
			r.run("bind", testenv.Wait, api.HostConfig{Binds: []string{r.volume.Mountpoint + ":/data"}})
		}, "started meanwhile", engine.Running},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReal(t)
			id := r.run("writer", writer, api.HostConfig{})
			h := r.hold(t, quiesce.Pause)
			tt.do(t, r, id)
			select {
			case <-h.Lost():
			case <-time.After(10 * time.Second):
				t.Error("the hold does not know that it is lost")
			}
			report, err := h.Release(t.Context())
			must(t, err)
			if reasons := strings.Join(report.Reasons, "; "); report.Grade != snapshot.Fuzzy || !strings.Contains(reasons, tt.reason) {
				t.Errorf("grade %s as %q, want %q", report.Grade, reasons, tt.reason)
			}
			if now := r.state(t, id); now != tt.after {
				t.Errorf("it is %s afterwards, want %s", now, tt.after)
			}
		})
	}
}

// Readers and other volumes' users come and go without harm.
func TestHarmlessNeighboursOnRealEngine(t *testing.T) {
	r := newReal(t)
	r.run("writer", writer, api.HostConfig{})
	h := r.hold(t, quiesce.Pause)
	r.run("reader", "cat /data/n", api.HostConfig{Binds: []string{r.volume.Name + ":/data:ro"}, AutoRemove: true})
	r.run("other", testenv.Wait, api.HostConfig{Binds: []string{r.Volume("other", nil, nil) + ":/data"}})
	report, err := h.Release(t.Context())
	must(t, err)
	if report.Grade != snapshot.Frozen {
		t.Errorf("grade %s as %q", report.Grade, report.Reasons)
	}
}

// A container that its engine restarts over and over cannot be paused between two attempts.
func TestRestartLoopOnRealEngine(t *testing.T) {
	r := newReal(t)
	id := r.run("crashing", "exit 1", api.HostConfig{RestartPolicy: api.RestartPolicy{Name: "always"}})
	for deadline := time.Now().Add(20 * time.Second); r.state(t, id) != engine.Restarting; {
		if time.Now().After(deadline) {
			t.Fatalf("it is %s", r.state(t, id))
		}
	}
	h := r.hold(t, quiesce.Pause)
	if held := r.state(t, id); held != engine.Exited {
		t.Errorf("it is %s while held", held)
	}
	report, err := h.Release(t.Context())
	must(t, err)
	c, err := r.client.Container(t.Context(), id)
	must(t, err)
	if !c.Active() {
		t.Errorf("it is %s afterwards", c.State)
	}
	t.Logf("grade %s (%q)", report.Grade, report.Reasons)
}

// What a restore stops is started again, also when it was made anew meanwhile and left stopped.
func TestSuccessorOnRealEngine(t *testing.T) {
	r := newReal(t)
	k := quiesce.New(r.client, quiesce.Options{Dir: t.TempDir(), Now: time.Now})
	id := r.run("reader", testenv.Wait, api.HostConfig{Binds: []string{r.volume.Name + ":/data:ro"}})
	h, err := k.Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{r.volume}, Readers: true})
	must(t, err)
	if held := r.state(t, id); held != engine.Exited {
		t.Errorf("it is %s while held", held)
	}
	r.Remove(id)
	again := testenv.Container{Name: "reader", HostConfig: api.HostConfig{Binds: []string{r.volume.Name + ":/data"}}}
	again.Image, again.Cmd = r.image, []string{"/bin/sh", "-c", testenv.Wait}
	id = r.Create(again)
	_, err = h.Release(t.Context())
	must(t, err)
	if now := r.state(t, id); now != engine.Running {
		t.Errorf("its successor is %s", now)
	}
}

// service makes a swarm service of two tasks that write to the volume all the time.
func (r *real) service(name string, global bool) string {
	return r.Service(testenv.Service{
		Name: name, Image: r.image, Command: []string{"/bin/sh", "-c", writer}, Replicas: 2, Global: global,
		Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: r.volume.Name, Target: "/data"}},
	})
}

// awaitTasks waits until the service has that many tasks that run.
func (r *real) awaitTasks(t *testing.T, service string, want int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		running := 0
		all, err := r.client.Containers(t.Context())
		must(t, err)
		for _, c := range all {
			if c.SwarmService() == service && c.State == engine.Running {
				running++
			}
		}
		if running == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d tasks run, want %d", running, want)
		}
	}
}

func TestServiceOnRealEngine(t *testing.T) {
	r := newReal(t)
	id := r.service("writers", false)
	r.awaitTasks(t, id, 2)
	for _, tt := range []struct {
		req      quiesce.Request
		replicas uint64 // while held
		grade    snapshot.Grade
	}{
		{quiesce.Request{Mode: quiesce.Pause}, 2, snapshot.Frozen},
		{quiesce.Request{Mode: quiesce.Stop}, 0, snapshot.Cold},
		{quiesce.Request{Readers: true}, 0, snapshot.Cold},
	} {
		t.Run(fmt.Sprintf("%s, readers %v", tt.req.Mode, tt.req.Readers), func(t *testing.T) {
			tt.req.Volumes = []engine.Volume{r.volume}
			k := quiesce.New(r.client, quiesce.Options{Dir: t.TempDir(), Now: time.Now})
			begun := time.Now()
			h, err := k.Hold(t.Context(), tt.req)
			must(t, err)
			t.Logf("holding took %s", time.Since(begun))
			r.awaitTasks(t, id, 0)
			held, err := r.client.Service(t.Context(), id)
			must(t, err)
			report, err := h.Release(t.Context())
			must(t, err)
			r.awaitTasks(t, id, 2)
			if held.Replicas != tt.replicas || report.Grade != tt.grade {
				t.Errorf("it had %d tasks while held, and the grade is %s (%q)", held.Replicas, report.Grade, report.Reasons)
			}
			t.Logf("held: %v", report.Held)
		})
	}
}

func TestServiceInterventionOnRealEngine(t *testing.T) {
	r := newReal(t)
	id := r.service("writers", false)
	r.awaitTasks(t, id, 2)
	h := r.hold(t, quiesce.Stop)
	must(t, r.client.Scale(t.Context(), id, 0, 1))
	select {
	case <-h.Lost():
	case <-time.After(10 * time.Second):
		t.Error("the hold does not know that it is lost")
	}
	report, err := h.Release(t.Context())
	must(t, err)
	now, err := r.client.Service(t.Context(), id)
	must(t, err)
	if now.Replicas != 1 || report.Grade != snapshot.Fuzzy {
		t.Errorf("it has %d tasks, and the grade is %s (%q)", now.Replicas, report.Grade, report.Reasons)
	}
}

func TestGlobalServiceOnRealEngine(t *testing.T) {
	r := newReal(t)
	r.awaitTasks(t, r.service("everywhere", true), 1)
	k := quiesce.New(r.client, quiesce.Options{Dir: t.TempDir(), Now: time.Now})
	_, err := k.Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{r.volume}, Mode: quiesce.Stop})
	if err == nil || !strings.Contains(err.Error(), "(global), which cannot be scaled to nothing") {
		t.Errorf("error %v", err)
	}
}
