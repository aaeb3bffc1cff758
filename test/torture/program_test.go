package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is backupd as built, with its settings.
type program struct {
	path string
	env  []string
}

// build builds the program as it ships: never with -race.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "backupd")
	cmd := exec.Command("go", "build", "-o", path, "github.com/backupd/backupd/cmd/backupd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	return path
}

func newProgram(path string, settings map[string]string) program {
	p := program{path: path}
	for _, set := range os.Environ() {
		if !strings.HasPrefix(set, "BACKUPD_") && !strings.HasPrefix(set, "DOCKER_") {
			p.env = append(p.env, set)
		}
	}
	return p.with(settings)
}

// with is the same program with more settings.
func (p program) with(settings map[string]string) program {
	p.env = slices.Clip(p.env)
	for name, value := range settings {
		p.env = append(p.env, name+"="+value) // the last of a name counts
	}
	return p
}

// run runs a command to its end and gives what it prints; one that fails is an error that says all.
func (p program) run(args ...string) (string, error) {
	const patience = 90 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) } // it tells then what it is waiting for
	cmd.WaitDelay = time.Second
	var out, complaints bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env, &out, &complaints
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("backupd %s: %w\n%s%s", strings.Join(args, " "), err, &out, &complaints)
	}
	return out.String(), nil
}

// worker is a backup or a daemon at work.
type worker struct {
	deliver func(syscall.Signal)
	first   int // id of the first process of its container, if it is in one
	ended   chan struct{}
	err     error // of how it ended
}

// start starts a command, which writes to the log, as its guards do.
func (p program) start(log string, args ...string) (*worker, error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(p.path, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env, f, f
	if err := errors.Join(cmd.Start(), f.Close()); err != nil {
		return nil, err
	}
	w := &worker{
		deliver: func(s syscall.Signal) { _ = cmd.Process.Signal(s) }, // one that has ended does not mind
		ended:   make(chan struct{}),
	}
	go func() {
		w.err = cmd.Wait()
		close(w.ended)
	}()
	return w, nil
}

func (w *worker) signal(s syscall.Signal) {
	if !w.hasEnded() {
		w.deliver(s)
	}
}

// waitFor waits for its end.
func (w *worker) waitFor(limit time.Duration) error {
	select {
	case <-w.ended:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("the worker still runs after %s", limit)
	}
}

func (w *worker) hasEnded() bool {
	select {
	case <-w.ended:
		return true
	default:
		return false
	}
}

// processes are the ids of all processes that run the program, or of its guards only.
func (p program) processes(guards bool) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range all {
		exe, err := os.Readlink(proc + "/exe")
		if err != nil || exe != p.path {
			continue
		}
		line, _ := os.ReadFile(proc + "/cmdline")
		pid, err := strconv.Atoi(filepath.Base(proc))
		if err == nil && len(line) > 0 && (!guards || bytes.Contains(line, []byte("\x00guard\x00"))) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// snapshot is one as list tells of it.
type snapshot struct {
	ID     string
	Volume string
	Grade  string
	Good   bool
}

func (p program) list() ([]snapshot, error) {
	out, err := p.run("list", "--json")
	if err != nil {
		return nil, err
	}
	var doc struct{ Snapshots []snapshot }
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		return nil, fmt.Errorf("%w in %q", err, out)
	}
	return doc.Snapshots, nil
}
