// Package systemd holds the unit of the daemon, and the test that keeps it valid and sealed. It has no code.
package systemd

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/backupd/backupd/internal/testenv"
)

// exposure is the highest that `systemd-analyze security` may say, from 0 to 10. The capabilities that give back other people's
// files, SYS_ADMIN among them, and the network make up most of it.
const exposure = 3.4

// unit copies the unit to a place of its own, with a program that is there.
func unit(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("backupd.service")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "backupd.service")
	text = bytes.Replace(text, []byte("/usr/bin/backupd"), []byte("/usr/bin/env"), 1)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnitIsValid(t *testing.T) {
	out, err := exec.Command(testenv.Tool(t, "systemd-analyze"), "verify", "--man=no", unit(t)).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func TestUnitStaysSealed(t *testing.T) {
	out, err := exec.Command(testenv.Tool(t, "systemd-analyze"), "security", "--offline=true", "--no-pager", unit(t)).Output()
	if err != nil {
		t.Fatalf("systemd-analyze security: %v", err)
	}
	m := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("systemd-analyze security gives no level:\n%s", out)
	}
	level, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil || level > exposure {
		t.Errorf("exposure is %s, want at most %v", m[1], exposure)
	}
}
