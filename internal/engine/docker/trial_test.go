package docker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/docker"
	"github.com/backupd/backupd/internal/testenv"
)

func openTrial(t *testing.T, d *testenv.Docker) *docker.Client {
	t.Helper()
	c, err := docker.Open(t.Context(), docker.Options{Host: d.Host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // idle connections only
	return c
}

// tried runs a line of a shell in a trial to its end, once it was prepared, and gives what it printed.
func tried(t *testing.T, d *testenv.Docker, c *docker.Client, line string, prepare func(id string)) string {
	t.Helper()
	id, err := c.CreateTrial(t.Context(), engine.Trial{
		Name: d.Name("trial"), Image: d.ShellImage(), Volume: d.Volume("v", nil, nil), At: "/v", PIDs: 50,
		Setup: engine.Setup{Entrypoint: []string{"sh", "-c"}, Command: []string{line}, Memory: 64 << 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Remove(id) })
	if prepare != nil {
		prepare(id)
	}
	began := time.Now()
	if err := c.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for e, err := range c.Events(t.Context(), began.Add(-time.Second)) {
		if err != nil {
			t.Fatal(err)
		}
		if e.ID == id && e.Action == "die" {
			break
		}
	}
	said, err := c.Logged(t.Context(), id, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return said
}

func TestATrialIsWalledIn(t *testing.T) {
	d := testenv.NewDocker(t)
	c := openTrial(t, d)
	said := tried(t, d, c, "ls /sys/class/net; while read l; do case $l in NoNewPrivs*) echo $l;; esac; done </proc/self/status", func(id string) {
		now, err := d.API.ContainerInspect(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		h := now.HostConfig
		if h.NetworkMode != "none" || len(h.PortBindings) > 0 || h.Memory != 64<<20 || h.PidsLimit == nil || *h.PidsLimit != 50 || h.Privileged ||
			h.RestartPolicy.Name != "no" || h.LogConfig.Config["max-size"] == "" || len(now.Mounts) != 1 {
			t.Errorf("it is made as %+v", h)
		}
	})
	if lines := strings.Fields(said); !strings.Contains(said, "NoNewPrivs: 1") || lines[0] != "lo" || strings.Contains(said, "eth") {
		t.Errorf("inside it sees %q", said)
	}
}

func TestFilesAreCopiedIntoATrial(t *testing.T) {
	d := testenv.NewDocker(t)
	c := openTrial(t, d)
	from := d.Run(testenv.Container{Name: "from", Config: container.Config{Image: d.ShellImage()}})
	d.Exec(from, "sh", "-ec", `mkdir -p /conf/sub /run/secrets; echo inner >/conf/sub/f; ln -s f /conf/sub/l; ln /conf/sub/f /conf/sub/h; chmod 600 /conf/sub/f
		echo secret >/run/secrets/db; dd if=/dev/zero of=/large bs=1024 count=100 2>/dev/null`)
	said := tried(t, d, c, "cat /conf/sub/l /conf/sub/h /run/secrets/db; stat -c %a /conf/sub/f; test -e /large || echo none", func(to string) {
		for _, path := range []string{"/conf", "/run/secrets/db"} {
			if err := c.CopyInto(t.Context(), from, to, path, 50<<10); err != nil {
				t.Error(err)
			}
		}
		if err := c.CopyInto(t.Context(), from, to, "/large", 50<<10); err == nil || !strings.Contains(err.Error(), "too large") {
			t.Errorf("of a large file: %v", err)
		}
		if err := c.CopyInto(t.Context(), from, to, "/absent", 50<<10); err == nil {
			t.Error("what is not there was copied")
		}
	})
	if said != "inner\ninner\nsecret\n600\nnone\n" {
		t.Errorf("inside there is %q", said)
	}
}
