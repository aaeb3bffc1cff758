// Package e2e tests the whole program as somebody uses it: the built binary as a process of its own, on a real engine, with a real
// PostgreSQL and a real S3 server. What parts of it promise by themselves is tested beside them.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if dir := builtIn.dir; dir != "" {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, "remove the program that was built:", err)
		}
	}
	os.Exit(code)
}

// builtIn is where binary has built the program.
var builtIn struct {
	once sync.Once
	dir  string
	err  error
}

// binary is the path of the program, built as it ships: never with -race, whatever the tests are built with, since what is measured
// of it would mean nothing then.
func binary(t testing.TB) string {
	t.Helper()
	b := &builtIn
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "backupd-e2e-"); b.err != nil {
			return
		}
		build := exec.Command("go", "build", "-o", filepath.Join(b.dir, "backupd"), "github.com/backupd/backupd/cmd/backupd")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("build the program: %w\n%s", err, out)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return filepath.Join(b.dir, "backupd")
}
