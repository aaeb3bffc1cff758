package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/testenv"
)

// hooked is a container with hooks, and the volume that it mounts.
type hooked struct {
	*testenv.Docker
	t          *testing.T
	volume, id string
}

// newHooked has hooks that write to the volume what they do.
func newHooked(t *testing.T, labels map[string]string) hooked {
	d := testenv.NewDocker(t)
	h := hooked{Docker: d, t: t, volume: d.Volume("data", enrolled(), nil)}
	h.id = d.Run(testenv.Container{
		Name:       "app",
		Config:     container.Config{Image: d.ShellImage(), Labels: labels},
		HostConfig: container.HostConfig{Binds: []string{h.volume + ":/data"}},
	})
	return h
}

func does(name string) string { return "echo " + name + " s3cr3t >>/data/log" }

// log is what hooks wrote, in one line.
func (h hooked) log() string {
	all, err := os.ReadFile(filepath.Join(folder(h.t, h.Docker, h.volume), "log"))
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(string(all), "s3cr3t", "")), " ")
}

func TestHooks(t *testing.T) {
	for _, mode := range []string{"pause", "stop", "none"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := newHooked(t, map[string]string{"backupd.hook.pre": does("pre") + "; echo s3cr3t", "backupd.hook.post": does("post")})
			p := newProgram(t, h.Docker).with("BACKUPD_QUIESCE", mode)
			made := p.backup(0, h.volume)[0].Snapshot
			if got := p.run(0, "cat", made.ID, "log").out; got != "pre s3cr3t\n" {
				t.Errorf("the snapshot has %q", got)
			}
			if got := h.log(); got != "pre post" {
				t.Errorf("hooks did %q", got)
			}
			manifest := p.run(0, "show", made.ID).out
			if strings.Contains(manifest, "s3cr3t") || !strings.Contains(manifest, `"hook": "pre"`) || !strings.Contains(manifest, `"hook": "post"`) {
				t.Errorf("the manifest is %s", manifest)
			}
			wantRunning(t, h.Docker, h.id)
		})
	}
}

func TestAHookThatFails(t *testing.T) {
	t.Parallel()
	h := newHooked(t, map[string]string{"backupd.hook.pre": does("pre") + "; echo disk is full; exit 9", "backupd.hook.post": does("post")})
	p := newProgram(t, h.Docker)
	if e := p.run(1, "backup", h.volume); !strings.Contains(e.complaints, "disk is full") {
		t.Errorf("it says:\n%s", e.complaints)
	}
	if got := h.log(); got != "pre post" || len(p.list(h.volume)) != 0 {
		t.Errorf("hooks did %q, and there are %d snapshots", got, len(p.list(h.volume)))
	}
	wantRunning(t, h.Docker, h.id)
}

// What a pre-hook began is ended, whoever dies: by the guard, or by whoever finds its journal.
func TestPostHookAfterAKill(t *testing.T) {
	for name, both := range map[string]bool{"of the program": false, "of its guard too": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHooked(t, map[string]string{
				"backupd.hook.pre": does("pre"), "backupd.hook.during": does("begin") + "; echo ready; cat; " + does("end"), "backupd.hook.post": does("post"),
			})
			fill(t, filepath.Join(folder(t, h.Docker, h.volume), "ballast"), 64)
			p := newProgram(t, h.Docker)
			r := p.with("BACKUPD_READ_LIMIT", "1MiB").start("backup", h.volume)
			eventually(t, "the container is held", func() bool { return inspect(t, h.Docker, h.id).State.Paused })
			if both {
				r.signal(syscall.SIGSTOP) // so that it does not take the guard's place
				for _, guard := range children(t, r.cmd.Process.Pid) {
					if err := syscall.Kill(guard, syscall.SIGKILL); err != nil {
						t.Fatal(err)
					}
				}
			}
			r.signal(syscall.SIGKILL)
			r.wait()
			if both {
				p.run(0, "recover")
			}
			eventually(t, "hooks are brought to their end", func() bool {
				log := h.log()
				return strings.HasPrefix(log, "pre begin") && strings.Contains(log, "post") && strings.Contains(log, "end")
			})
			wantRunning(t, h.Docker, h.id)
		})
	}
}

// children are the processes that a process has started.
func children(t *testing.T, pid int) (pids []int) {
	t.Helper()
	lists, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "children"))
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		words, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range strings.Fields(string(words)) {
			child, err := strconv.Atoi(word)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, child)
		}
	}
	if len(pids) == 0 {
		t.Fatalf("process %d has no children", pid)
	}
	return pids
}
