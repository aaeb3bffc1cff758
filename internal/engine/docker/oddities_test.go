package docker_test

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"github.com/backupd/backupd/internal/testenv"
)

// These pin what an engine does that one would not expect, and that holding containers and letting them go relies on.

// odd is an engine with what these tests do to it.
type odd struct {
	*testenv.Docker
	t *testing.T
}

// script runs a container with a shell's script.
func (o odd) script(name, script string, c testenv.Container) (id string) {
	o.t.Helper()
	c.Name, c.Image, c.Cmd = name, o.ShellImage(), []string{"sh", "-c", script}
	return o.Run(c)
}

func (o odd) look(id string) *container.State {
	o.t.Helper()
	c, err := o.API.ContainerInspect(o.t.Context(), id)
	o.must(err)
	return c.State
}

func (o odd) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

func TestHeldContainersOverARestartOfTheEngine(t *testing.T) {
	const running, paused, exited = container.StateRunning, container.StatePaused, container.StateExited
	type states map[string]container.ContainerState
	for name, tt := range map[string]struct {
		keep bool // containers, while it is down: live-restore
		end  syscall.Signal
		want states
	}{
		"in order": {false, syscall.SIGTERM,
			states{"paused no": exited, "paused unless-stopped": running, "stopped always": running, "stopped unless-stopped": exited}},
		"killed": {false, syscall.SIGKILL,
			states{"paused no": exited, "paused unless-stopped": exited, "stopped always": running, "stopped unless-stopped": exited}},
		"in order with live-restore": {true, syscall.SIGTERM,
			states{"paused no": paused, "paused unless-stopped": paused, "stopped always": running, "stopped unless-stopped": exited}},
		"killed with live-restore": {true, syscall.SIGKILL,
			states{"paused no": paused, "paused unless-stopped": paused, "stopped always": running, "stopped unless-stopped": exited}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			engine := testenv.NewOwnEngine(t)
			if tt.keep {
				engine.KeepContainers()
			}
			o := odd{engine.Docker, t}
			ids := make(map[string]string)
			for c := range tt.want {
				ids[c] = o.hold(c)
			}
			engine.Restart(tt.end, func() {})
			got := make(states)
			for c, id := range ids { // it answers only when it has started what it restarts
				got[c] = o.look(id).Status
			}
			if !maps.Equal(got, tt.want) {
				t.Errorf("afterwards they are %v, want %v", got, tt.want)
			}
		})
	}
}

// hold runs a container and holds it: "paused no" is one with restart policy no.
func (o odd) hold(how string) (id string) {
	o.t.Helper()
	how, policy, _ := strings.Cut(how, " ")
	host := container.HostConfig{RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(policy)}}
	id = o.script(how+policy, testenv.Wait, testenv.Container{HostConfig: host})
	if how == "paused" {
		o.must(o.API.ContainerPause(o.t.Context(), id))
	} else {
		o.must(o.API.ContainerStop(o.t.Context(), id, container.StopOptions{}))
	}
	return id
}

func TestAPausedContainerEndsInOrderWhenItIsStopped(t *testing.T) {
	o := odd{testenv.NewDocker(t), t}
	id := o.script("app", "trap 'echo told; exit 0' TERM; echo up; while :; do sleep 0.1; done", testenv.Container{})
	o.WaitLog(id, "up")
	o.must(o.API.ContainerPause(t.Context(), id))
	o.must(o.API.ContainerStop(t.Context(), id, container.StopOptions{}))
	if s := o.look(id); s.Status != container.StateExited || s.ExitCode != 0 || !strings.Contains(o.Logs(id), "told") {
		t.Errorf("it is %s with exit code %d, and said %q", s.Status, s.ExitCode, o.Logs(id))
	}
}

func TestTheEngineFinishesAStopThatNobodyWaitsForAndStartMeanwhileDoesNothing(t *testing.T) {
	o := odd{testenv.NewDocker(t), t}
	grace := 2
	id := o.script("app", "trap 'echo told' TERM; echo up; while :; do sleep 0.1; done", testenv.Container{Config: container.Config{StopTimeout: &grace}})
	o.WaitLog(id, "up")
	ctx, hangUp := context.WithCancel(t.Context())
	stopped := make(chan error)
	go func() { stopped <- o.API.ContainerStop(ctx, id, container.StopOptions{}) }()
	o.WaitLog(id, "told")
	hangUp()
	if err := <-stopped; err == nil {
		t.Fatal("the stop was over already")
	}
	answer, err := o.API.HTTPClient().Post("http://docker/v"+o.API.ClientVersion()+"/containers/"+id+"/start", "", nil)
	o.must(err)
	o.must(answer.Body.Close())
	if answer.StatusCode != http.StatusNotModified {
		t.Errorf("start answers %s", answer.Status)
	}
	over, failed := o.API.ContainerWait(t.Context(), id, container.WaitConditionNotRunning)
	select {
	case end := <-over:
		if end.StatusCode != 137 {
			t.Errorf("it ended with exit code %d", end.StatusCode)
		}
	case err := <-failed:
		t.Error(err)
	}
}

func TestAPausedContainerIsUnhealthyAtOnceAndStaysSoUntilItsNextProbe(t *testing.T) {
	o := odd{testenv.NewDocker(t), t}
	check := &container.HealthConfig{Test: []string{"CMD", "sh", "-c", "true"}, Interval: 2 * time.Second}
	id := o.script("app", testenv.Wait, testenv.Container{Config: container.Config{Healthcheck: check}})
	healthy := func() bool { return o.look(id).Health.Status == container.Healthy }
	testenv.Eventually(t, "it is healthy", healthy)

	before := time.Now()
	o.must(o.API.ContainerPause(t.Context(), id))
	if h := o.look(id).Health; h.Status != container.Unhealthy || h.FailingStreak != 0 {
		t.Errorf("paused, it is %s after %d probes that failed", h.Status, h.FailingStreak)
	}
	o.must(o.API.ContainerUnpause(t.Context(), id))
	if healthy() {
		t.Error("it is healthy before it was probed")
	}
	testenv.Eventually(t, "it is healthy again", healthy)
	if seen := o.events(id, before); slices.Contains(seen, events.ActionHealthStatusUnhealthy) || !slices.Contains(seen, events.ActionUnPause) {
		t.Errorf("there were the events %q", seen)
	}
}

// events are a container's from then until now.
func (o odd) events(id string, since time.Time) (all []events.Action) {
	o.t.Helper()
	told, failed := o.API.Events(o.t.Context(), events.ListOptions{
		Since: since.Format(time.RFC3339Nano), Until: time.Now().Format(time.RFC3339Nano), Filters: filters.NewArgs(filters.Arg("container", id)),
	})
	for {
		select {
		case e := <-told:
			all = append(all, e.Action)
		case <-failed: // io.EOF after the last one
			return all
		}
	}
}

func TestStdinEndsWithWhoeverHeldItOnlyWhenItWasOpenedOnce(t *testing.T) {
	for name, once := range map[string]bool{"OpenStdin": false, "OpenStdin and StdinOnce": true} {
		t.Run(name, func(t *testing.T) {
			o := odd{testenv.NewDocker(t), t}
			c := testenv.Container{Config: container.Config{OpenStdin: true, StdinOnce: once}}
			id := o.script("app", "cat; echo ended", c)
			o.enter(id, "first\n")
			if once {
				o.WaitLog(id, "ended")
				return
			}
			o.enter(id, "second\n")
			if said := o.Logs(id); strings.Contains(said, "ended") {
				t.Errorf("it said %q", said)
			}
		})
	}
}

// enter attaches to a container's stdin, writes a line that comes back, and goes as one does who is killed.
func (o odd) enter(id, line string) {
	o.t.Helper()
	stream, err := o.API.ContainerAttach(o.t.Context(), id, container.AttachOptions{Stream: true, Stdin: true})
	o.must(err)
	_, err = stream.Conn.Write([]byte(line))
	o.must(err)
	o.WaitLog(id, line)
	stream.Close()
}
