package testenv_test

import (
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/testenv"
)

func TestShellRuns(t *testing.T) {
	d := testenv.NewDocker(t)
	id := d.Run(testenv.Container{Name: "shell", Config: container.Config{Image: d.ShellImage()}})
	if got := d.Exec(id, "sh", "-c", "id -u postgres; ls -d /tmp"); got != "70\n/tmp\n" {
		t.Errorf("in the container: %q", got)
	}
	if _, err := d.TryExec(id, "sh", "-c", "echo why >&2; exit 3"); err == nil || !strings.Contains(err.Error(), "exit code 3: why") {
		t.Errorf("a failing command: %v", err)
	}
}

func TestPostgresRuns(t *testing.T) {
	d := testenv.NewDocker(t)
	data := d.Volume("data", nil, nil)
	id := d.Run(testenv.Container{
		Name:       "db",
		Config:     container.Config{Image: d.PostgresImage()},
		HostConfig: container.HostConfig{Binds: []string{data + ":/data"}},
	})
	d.WaitLog(id, testenv.PostgresReady)
	d.Exec(id, "pgbench", "--quiet", "-i", "-s", "1")
	d.Exec(id, "pgbench", "-c", "2", "-t", "50")
	if got := d.Exec(id, "psql", "-Atc", "select count(*) from pgbench_history"); got != "100\n" {
		t.Errorf("rows in the history: %q", got)
	}
	d.Exec(id, "psql", "-c", "create extension amcheck")
	d.Exec(id, "pg_amcheck", "--all")
}
