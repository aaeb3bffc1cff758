package testenv

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// OwnEngine is an engine for one test alone, which can be restarted.
type OwnEngine struct {
	*Docker
	dir   string         // of its socket, settings and process id, as means.sh lays them
	again sync.WaitGroup // for what Restart has started
}

// NewOwnEngine starts an engine, which ends with the test.
func NewOwnEngine(t testing.TB) *OwnEngine {
	t.Helper()
	return NewOwnEngineIn(t, os.TempDir())
}

// NewOwnEngineIn starts an engine that keeps all that it has below a folder, which has a short path (see FileSystem).
func NewOwnEngineIn(t testing.TB, scratch string) *OwnEngine {
	t.Helper()
	Engine(t) // where there is one, there can be two
	e := &OwnEngine{}
	means := exec.Command(meansScript(t), "run", "--only", "engine", "--", "sh", "-c", `echo "$TEST_DOCKER_HOST"; exec cat`)
	means.Env = append(os.Environ(), "TMPDIR="+scratch)
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
		e.again.Wait() // it was ended too
	})
	address, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		t.Fatalf("start an engine for this test: %v", err)
	}
	e.Docker = openDocker(t, strings.TrimSpace(address))
	e.dir = filepath.Dir(strings.TrimPrefix(e.Host, "unix://"))
	return e
}

// meansScript is the path of test/means.sh in the module of the test that runs.
func meansScript(t testing.TB) string {
	t.Helper()
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatalf("find the module: %v", err)
	}
	return filepath.Join(filepath.Dir(string(mod)), "test", "means.sh")
}

// KeepContainers has the engine leave containers alone when it ends, as with "live-restore" in its settings.
func (e *OwnEngine) KeepContainers() {
	e.t.Helper()
	e.Settings(`{"live-restore": true}`)
	e.must("tell the engine", syscall.Kill(e.pid(), syscall.SIGHUP))
	Eventually(e.t, "the engine has read its settings", func() bool {
		info, err := e.API.Info(e.t.Context())
		return err == nil && info.LiveRestoreEnabled
	})
}

// Settings are what the engine reads when it is started.
func (e *OwnEngine) Settings(text string) {
	e.t.Helper()
	e.must("write the engine's settings", os.WriteFile(filepath.Join(e.dir, "daemon.json"), []byte(text), 0o644))
}

// Restart ends the engine by a signal, calls meanwhile, and starts it again.
func (e *OwnEngine) Restart(end syscall.Signal, meanwhile func()) {
	e.t.Helper()
	pid := e.pid()
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	e.must("look at the engine", err)
	e.must("end the engine", syscall.Kill(pid, end))
	Eventually(e.t, "the engine ends", func() bool { return Ended(pid) })
	if end == syscall.SIGKILL { // it would take the next processes of these numbers for itself and its containerd
		e.must("remove what it left", os.RemoveAll(filepath.Join(e.dir, "pid")))
		e.must("remove what it left", os.RemoveAll(filepath.Join(e.dir, "run", "containerd", "containerd.pid")))
	}
	meanwhile()

	// In a network namespace of its own, as in means.sh, which also ends it.
	script := []string{"--net", "sh", "-c", `ip link set lo up && exec "$@"`, "sh"}
	again := exec.Command("unshare", append(script, strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")...)...)
	again.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	e.must("start the engine again", again.Start())
	e.again.Go(func() { _ = again.Wait() }) // it ends by a signal
	Eventually(e.t, "the engine is back", func() bool {
		_, err := e.API.Ping(e.t.Context())
		return err == nil
	})
}

// Forget pauses a container in such a way that the engine does not know, which is what one does that is killed at the wrong moment. It
// is to keep containers.
func (e *OwnEngine) Forget(id string) {
	e.t.Helper()
	e.must("stop the engine", syscall.Kill(e.pid(), syscall.SIGSTOP)) // its containerd would die with it
	socket := filepath.Join(e.dir, "run", "containerd", "containerd.sock")
	said, err := exec.Command("ctr", "-a", socket, "-n", "moby", "task", "pause", id).CombinedOutput()
	e.must("pause a container: "+string(said), err)
	e.Restart(syscall.SIGKILL, func() {})
}

func (e *OwnEngine) pid() int {
	e.t.Helper()
	text, err := os.ReadFile(filepath.Join(e.dir, "pid"))
	e.must("find the engine", err)
	pid, err := strconv.Atoi(string(text))
	e.must("find the engine", err)
	return pid
}

// Ended tells whether a process has ended, and let go of all its locks, although its parent may not have heard of it yet.
func Ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(stat), ") ")
	return err != nil || strings.HasPrefix(state, "Z")
}

// Eventually waits until something holds that another process brings about.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	const patience = time.Minute
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for deadline := time.After(patience); !holds(); {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("within %s not: %s", patience, what)
		}
	}
}
