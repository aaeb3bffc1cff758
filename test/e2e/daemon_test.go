package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/testenv"
)

func TestDaemon(t *testing.T) {
	d := testenv.NewOwnEngine(t)
	p := newProgram(t, d.Docker).with("BACKUPD_SCHEDULE", "*/2 * * * * *").with("BACKUPD_RETENTION", "last=2").with("BACKUPD_READ_LIMIT", "8MiB")
	daemon := p.start("run")
	eventually(t, "the daemon has started", func() bool { return strings.Contains(daemon.complaints.String(), "daemon started") })

	// newSnapshot waits for one of what the volume is from now on.
	newSnapshot := func(t *testing.T, volume string) {
		t.Helper()
		now := time.Now()
		eventually(t, "a new snapshot", func() bool {
			all := p.list(volume)
			return len(all) > 0 && all[len(all)-1].Good && all[len(all)-1].Taken.After(now)
		})
	}
	labelled := d.Volume("labelled", enrolled(), nil)
	plain := d.Volume("plain", nil, nil)
	app := d.Run(testenv.Container{
		Name:       "app",
		Config:     container.Config{Image: d.ShellImage(), Labels: enrolled()},
		HostConfig: container.HostConfig{Binds: []string{plain + ":/data"}},
	})
	t.Run("enrols what is labelled while it runs", func(t *testing.T) {
		newSnapshot(t, labelled)
		newSnapshot(t, plain)
	})
	t.Run("goes on with a volume when the container is gone that enrolled it", func(t *testing.T) {
		d.Remove(app)
		newSnapshot(t, plain)
	})
	t.Run("applies retention", func(t *testing.T) {
		newSnapshot(t, labelled)
		// One more may have come, and not have been followed by retention yet.
		eventually(t, "two snapshots are left", func() bool { return len(p.list(labelled)) == 2 })
	})
	t.Run("lets no other daemon work with its state", func(t *testing.T) {
		e := p.run(1, "run")
		if !strings.Contains(e.complaints, "another daemon") {
			t.Errorf("it says: %s", e.complaints)
		}
	})
	t.Run("survives that the engine restarts", func(t *testing.T) {
		d.Restart(syscall.SIGTERM, func() {
			eventually(t, "the daemon misses the engine", func() bool {
				return strings.Contains(daemon.complaints.String(), "volumes cannot be discovered")
			})
		})
		newSnapshot(t, labelled)
		newSnapshot(t, plain)
	})
	t.Run("ends when it is told to, in the middle of a backup", func(t *testing.T) {
		_, id := appWithData(t, d.Docker, 64)
		eventually(t, "the container is held", func() bool { return inspect(t, d.Docker, id).State.Status == container.StatePaused })
		asked := time.Now()
		daemon.signal(syscall.SIGTERM)
		e := daemon.waitFor(bounded)
		if e.code != 0 {
			t.Errorf("exit code %d; it says:\n%s", e.code, e.complaints)
		}
		wantRunning(t, d.Docker, id)
		t.Attr("daemon_ended_after", time.Since(asked).Round(time.Millisecond).String())
	})
}
