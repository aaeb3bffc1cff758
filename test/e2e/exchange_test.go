package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/testenv"
)

// exchanging are the system calls that a restore in place makes from when all is there until it is done.
var exchanging = []string{"renameat2", "renameat", "fsync", "fchown", "unlinkat"}

// TestARestoreInPlaceKilledAtEachStep kills the program at its calls, one after the other. Its guard lets the containers go then: they run, on a volume
// that is wholly old or wholly new.
func TestARestoreInPlaceKilledAtEachStep(t *testing.T) {
	strace := testenv.Tool(t, "strace")
	for name, options := range map[string]map[string]string{"in a folder here": nil, "through a helper": {"type": "none", "o": "bind"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := testenv.NewDocker(t)
			p := newProgram(t, d)
			volume := newVolume(t, d, options)
			app := d.Run(testenv.Container{
				Name: "app",
				// It says what it found when it was started: what it runs on.
				Config:     container.Config{Image: d.ShellImage(), Cmd: []string{"sh", "-c", `trap exit TERM; cat /data/*/* >/tmp/found 2>&1; while :; do sleep 0.1; done`}},
				HostConfig: container.HostConfig{Binds: []string{volume + ":/data"}},
			})
			holds := func(what string) {
				d.Exec(app, "sh", "-c", fmt.Sprintf(`rm -rf /data/*; for d in a b c %[1]s; do mkdir /data/$d; echo %[1]s >/data/$d/f; done; echo not started >/tmp/found`, what))
			}
			holds("new")
			p.backup(0, volume)
			olds, news := 0, 0
			for _, call := range exchanging {
				for n := 1; n < 40; n++ {
					holds("old")
					killed := *p
					killed.wrap = []string{strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, n)}
					e := killed.start("restore", volume, "--in-place", "--commit").wait()
					if e.code == 0 {
						break
					}
					p.run(0, "recover")
					waitRunning(t, d, app)
					found := strings.Join(strings.Fields(d.Exec(app, "sh", "-c", "cat /data/*/*; ls -d /data/old /data/new 2>/dev/null; cat /tmp/found")), " ")
					switch found {
					case "old old old old /data/old old old old old", "old old old old /data/old not started":
						olds++
					case "new new new new /data/new new new new new":
						news++
					default:
						t.Errorf("killed at %s %d (%d: %s): it runs on %q", call, n, e.code, e.complaints, found)
					}
				}
			}
			t.Logf("%d old, %d new", olds, news)
			// Through a helper the program itself makes few of the calls, and strace(1) counts them by thread, so that a kill comes less often.
			if enough := olds > 2 && news > 2 || options != nil && olds+news > 2; !enough {
				t.Error("that is no test")
			}
			if left, err := filepath.Glob(filepath.Join(p.setting("BACKUPD_STATE_DIR"), "holds", "*.journal")); len(left) > 0 || err != nil {
				t.Errorf("still held, says %q (%v)", left, err)
			}
		})
	}
}

// newVolume makes a volume of a folder of its own where its options say bind.
func newVolume(t *testing.T, d *testenv.Docker, options map[string]string) string {
	t.Helper()
	if options["o"] == "bind" {
		options["device"] = t.TempDir()
	}
	return d.Volume("data", enrolled(), options)
}

// waitRunning waits until the container runs, and has for a moment.
func waitRunning(t *testing.T, d *testenv.Docker, id string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if c := inspect(t, d, id); c.State.Running && !c.State.Paused {
			if _, err := d.TryExec(id, "sh", "-c", "until [ -s /tmp/found ]; do sleep 0.05; done"); err == nil {
				return
			}
		}
	}
	t.Fatalf("the container does not run again (%v)", os.ErrDeadlineExceeded)
}
