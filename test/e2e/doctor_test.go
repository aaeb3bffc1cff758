package e2e

import (
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/testenv"
)

// TestTheDoctorInAContainer asks it about guards, where the engine makes containers for it and where a proxy refuses.
func TestTheDoctorInAContainer(t *testing.T) {
	direct := func(_ *testing.T, host string) string { return strings.TrimPrefix(host, "unix://") }
	for name, test := range map[string]struct {
		socket func(t *testing.T, host string) string
		want   string
	}{
		"allowed": {direct, "ok    guard: a container of its own beside this one"},
		"refused": {refusing, "WARN  guard: the engine refuses a guard in a container of its own"},
	} {
		t.Run(name, func(t *testing.T) {
			d := testenv.NewDocker(t)
			d.Volume("app", map[string]string{"backupd.enable": "true"}, nil)
			c := &contained{Docker: d, t: t, state: t.TempDir()}
			local := t.TempDir()
			c.worker = c.Run(c.Contained(binary(t), test.socket(t, d.Host), []string{c.state, local}, []string{
				"BACKUPD_HOST=" + host, "BACKUPD_STATE_DIR=" + c.state, "BACKUPD_TARGETS=local=file://" + local,
			}, "doctor"))
			ended, failed := c.API.ContainerWait(t.Context(), c.worker, container.WaitConditionNotRunning)
			select {
			case <-ended:
			case err := <-failed:
				t.Fatal(err)
			}
			said := d.Logs(c.worker)
			for _, want := range []string{test.want, "ok    engine: ", "ok    holds: ", "ok    volumes: 1 enrolled; 1 can be read here", "ok    target local: an object was put"} {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q", want)
				}
			}
			if t.Failed() {
				t.Log("it says:\n" + said)
			}
			eventually(t, "the guard's container goes", func() bool { return len(c.guards()) == 0 })
		})
	}
}
