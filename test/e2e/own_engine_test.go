package e2e

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/backupd/backupd/internal/testenv"
)

// ownEngine is an engine for one test alone: a daemon backs up all that is enrolled, and this one can be restarted.
type ownEngine struct {
	*testenv.Docker
	again []*exec.Cmd // what restart has started
}

func newOwnEngine(t *testing.T) *ownEngine {
	t.Helper()
	e := &ownEngine{}
	testenv.Engine(t) // where there is one, there can be two
	means := exec.Command("../means.sh", "run", "--only", "engine", "--", "sh", "-c", `echo "$TEST_DOCKER_HOST"; exec cat`)
	means.Stderr = os.Stderr
	until, err := means.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := means.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := means.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := until.Close(); err != nil {
			t.Error(err)
		}
		if err := means.Wait(); err != nil {
			t.Errorf("end the engine of this test: %v", err)
		}
		for _, engine := range e.again {
			_ = engine.Wait() // it was ended too, by a signal
		}
	})
	address, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		t.Fatalf("start an engine for this test: %v", err)
	}
	t.Setenv("TEST_DOCKER_HOST", strings.TrimSpace(address))
	e.Docker = testenv.NewDocker(t)
	return e
}

// restart stops the engine as a service manager would, calls meanwhile, and starts it again.
func (e *ownEngine) restart(t *testing.T, meanwhile func()) {
	t.Helper()
	dir := filepath.Dir(strings.TrimPrefix(e.Host, "unix://"))
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	line, err := os.ReadFile(filepath.Join("/proc", string(text), "cmdline"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the engine ends", func() bool { return syscall.Kill(pid, 0) != nil })
	meanwhile()

	// In a network namespace of its own, as in means.sh, which also ends it.
	script := []string{"--net", "sh", "-c", `ip link set lo up && exec "$@"`, "sh"}
	again := exec.Command("unshare", append(script, strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")...)...)
	again.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	again.Stdout, again.Stderr = io.Discard, io.Discard
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	e.again = append(e.again, again)
	eventually(t, "the engine is back", func() bool {
		_, err := e.API.Ping(t.Context())
		return err == nil
	})
}
