// Package systemd holds the units, and the test that keeps them valid and sealed. It has no code. How they behave is tested in
// test/systemd.
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
// files, SYS_ADMIN among them, and the network make up most of the daemon's.
var exposure = map[string]float64{"backupd.service": 3.4, "backupd-recover.service": 2.1, "backupd-settle.service": 3.0}

// unit copies a unit to a place of its own, with a program that is there.
func unit(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	text = bytes.ReplaceAll(text, []byte("/usr/bin/backupd"), []byte("/usr/bin/env"))
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnitsAreValid(t *testing.T) {
	for name := range exposure {
		out, err := exec.Command(testenv.Tool(t, "systemd-analyze"), "verify", "--man=no", unit(t, name)).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("systemd-analyze verify of %s: %v\n%s", name, err, out)
		}
	}
}

func TestUnitsStaySealed(t *testing.T) {
	overall := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`)
	for name, most := range exposure {
		out, err := exec.Command(testenv.Tool(t, "systemd-analyze"), "security", "--offline=true", "--no-pager", unit(t, name)).Output()
		if err != nil {
			t.Fatalf("systemd-analyze security %s: %v", name, err)
		}
		m := overall.FindSubmatch(out)
		if m == nil {
			t.Fatalf("systemd-analyze security gives no level:\n%s", out)
		}
		level, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil || level > most {
			t.Errorf("exposure of %s is %s, want at most %v", name, m[1], most)
		}
		t.Attr(name+"_exposure", string(m[1]))
	}
}
