package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/swarm"

	"github.com/backupd/backupd/internal/testenv"
)

// stopped is enrolled with a stop instead of a pause.
func stopped() map[string]string {
	return map[string]string{"backupd.enable": "true", "backupd.quiesce": "stop"}
}

// appService is a swarm service of two tasks that have the volume.
func appService(t *testing.T, d *testenv.Docker, volume string) string {
	t.Helper()
	id := d.Service(testenv.Service{
		Name: "app", Image: d.ShellImage(), Replicas: 2,
		Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: volume, Target: "/data"}},
	})
	wantTasks(t, d, id, 2)
	return id
}

// wantTasks waits until so many tasks of a service run.
func wantTasks(t *testing.T, d *testenv.Docker, service string, n int) {
	t.Helper()
	eventually(t, "the service has its tasks", func() bool {
		running, err := d.API.ContainerList(t.Context(), container.ListOptions{
			Filters: filters.NewArgs(filters.Arg("label", "com.docker.swarm.service.id="+service), filters.Arg("status", "running")),
		})
		if err != nil {
			t.Fatal(err)
		}
		return len(running) == n
	})
}

// wanted is how many tasks a service should have.
func wanted(t *testing.T, d *testenv.Docker, service string) uint64 {
	t.Helper()
	s, _, err := d.API.ServiceInspectWithRaw(t.Context(), service, swarm.ServiceInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return *s.Spec.Mode.Replicated.Replicas
}

func TestSwarmServiceIsStoppedForBackupAndRestore(t *testing.T) {
	t.Parallel()
	d := testenv.NewDocker(t)
	p := newProgram(t, d)
	volume := d.Volume("data", stopped(), nil)
	service := appService(t, d, volume)
	put(t, d, volume, "greeting", "hello")

	if e := p.run(0, "plan", volume); !strings.Contains(e.out, "scale "+d.Name("app")+"\n") {
		t.Errorf("the plan is %s", e.out)
	}
	if s := p.backup(0, volume)[0].Snapshot; s.Grade != "cold" {
		t.Errorf("the snapshot is %+v", s)
	}
	wantTasks(t, d, service, 2)

	put(t, d, volume, "greeting", "a mistake")
	if e := p.run(0, "restore", volume, "--in-place", "--dry-run"); !strings.Contains(e.complaints, "would scale service "+d.Name("app")+" to nothing, and back to 2") {
		t.Errorf("it would %s", e.complaints)
	}
	p.run(0, "restore", volume, "--in-place")
	if got := content(t, d, volume, "greeting"); got != "hello" {
		t.Errorf("it holds %q", got)
	}
	wantTasks(t, d, service, 2)
}

// The guard puts the count back when whoever asked for the hold is killed.
func TestSwarmServiceComesBackAfterAKill(t *testing.T) {
	t.Parallel()
	d := testenv.NewDocker(t)
	state := t.TempDir()
	p := newProgram(t, d).with("BACKUPD_STATE_DIR", state).with("BACKUPD_READ_LIMIT", "1MiB")
	volume := d.Volume("data", stopped(), nil)
	fill(t, filepath.Join(folder(t, d, volume), "file"), 64)
	service := appService(t, d, volume)

	r := p.start("backup", volume)
	wantTasks(t, d, service, 0)
	r.signal(syscall.SIGKILL)
	r.wait()
	wantTasks(t, d, service, 2)
	if n := wanted(t, d, service); n != 2 {
		t.Errorf("the service should have %d tasks", n)
	}
	p = p.with("BACKUPD_READ_LIMIT", "1GiB")
	p.backup(0, volume)
	wantTasks(t, d, service, 2)
	eventually(t, "no journal is left", func() bool {
		left, err := os.ReadDir(filepath.Join(state, "holds"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range left {
			if strings.HasSuffix(e.Name(), ".journal") {
				return false
			}
		}
		return true
	})
}
