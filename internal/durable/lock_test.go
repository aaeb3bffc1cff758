package durable

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// The test binary is also the other process: with this in its environment it takes the lock, says so, and holds it until its
// standard input ends.
const holdEnv = "DURABLE_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdEnv); path != "" {
		os.Exit(hold(path))
	}
	os.Exit(m.Run())
}

func hold(path string) int {
	if _, err := TryLock(path); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// other starts another process that holds the lock.
func other(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+path)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait() // it may have been killed
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "held\n" {
		t.Fatalf("the other process says %q (%v)", line, err)
	}
	return cmd
}

func TestALockHasOneHolderAmongProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	cmd := other(t, path)

	_, err := TryLock(path)
	if !errors.Is(err, ErrLocked) || !strings.HasSuffix(err.Error(), fmt.Sprintf("locked by process %d", cmd.Process.Pid)) {
		t.Errorf("error is %v, want %v by process %d", err, ErrLocked, cmd.Process.Pid)
	}
}

func TestALockEndsWithItsProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	cmd := other(t, path)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	l, err := LockWait(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
}

func TestChildrenDoNotInheritALock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	other(t, filepath.Join(t.TempDir(), "another"))
	if err := l.file.Close(); err != nil { // as when this process had died
		t.Fatal(err)
	}
	if l, err = TryLock(path); err != nil {
		t.Fatal(err)
	}
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
}

func TestALockHasOneHolderWithinAProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var holders sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			l, err := LockWait(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			if holders.TryLock() {
				runtime.Gosched()
				holders.Unlock()
			} else {
				t.Error("two hold the lock")
			}
			if err := l.Unlock(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestWaitingForALockEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	other(t, path)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if _, err := LockWait(ctx, path); !errors.Is(err, ErrLocked) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v, want both %v and %v", err, ErrLocked, context.DeadlineExceeded)
	}
}

func TestTheHolderIsNamedOnlyWhenItIsKnown(t *testing.T) {
	tests := map[string]struct{ content, want string }{
		"a number":             {"4711\n", "process 4711"},
		"nothing yet":          {"", "another process"},
		"not a number":         {"\x1b[2J", "another process"},
		"more than a number":   {"1 2", "another process"},
		"too great a number":   {"99999999999", "another process"},
		"an endless number":    {strings.Repeat("1", 1000), "another process"},
		"less than any number": {"-1", "another process"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lock")
			l, err := TryLock(path)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Unlock()
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := TryLock(path); err == nil || !strings.HasSuffix(err.Error(), "locked by "+tt.want) {
				t.Errorf("error is %v, want it to end with %q", err, tt.want)
			}
		})
	}
}

func TestALockDoesNotFollowALink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "victim"), filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(filepath.Join(dir, "lock")); err == nil {
		t.Error("a lock was taken through a link")
	}
	if _, err := os.Lstat(filepath.Join(dir, "victim")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link's target: %v, want %v", err, fs.ErrNotExist)
	}
}
