package e2e

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/testenv"
)

// contained is the program in a container, backing up a volume that it takes long to read.
type contained struct {
	*testenv.Docker
	t      *testing.T
	writer string // id of the container that uses the volume
	worker string // id of the program's
	state  string
}

// startContained gives one that holds the writer right now. Its engine is behind the socket.
func startContained(t *testing.T, d *testenv.Docker, socket string) *contained {
	t.Helper()
	c := &contained{Docker: d, t: t, state: t.TempDir()}
	volume, writer := appWithData(t, d, 64)
	c.writer = writer
	local := t.TempDir()
	c.worker = d.Run(d.Contained(binary(t), socket, []string{c.state, local}, []string{
		"BACKUPD_HOST=" + host, "BACKUPD_STATE_DIR=" + c.state, "BACKUPD_TARGETS=local=file://" + local, "BACKUPD_READ_LIMIT=1MiB",
	}, "backup", volume))
	eventually(t, "the writer is held; the program says:\n"+d.Logs(c.worker), func() bool {
		return inspect(t, d, c.writer).State.Paused
	})
	return c
}

// guards are the ids of the containers of guards, of which no other test makes any meanwhile.
func (c *contained) guards() (ids []string) {
	c.t.Helper()
	list, err := c.API.ContainerList(c.t.Context(), container.ListOptions{All: true,
		Filters: filters.NewArgs(filters.Arg("label", engine.GuardLabel))})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, one := range list {
		ids = append(ids, one.ID)
	}
	return ids
}

// kill kills a process of this machine.
func (c *contained) kill(pid int) {
	c.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		c.t.Fatalf("kill process %d: %v", pid, err)
	}
}

// first is the first process of a container.
func (c *contained) first(id string) int { return inspect(c.t, c.Docker, id).State.Pid }

// proper is the process in the program's container that does its work: the child of the first, which any of its threads may have made.
func (c *contained) proper() int {
	c.t.Helper()
	lists, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(c.first(c.worker)), "task", "*", "children"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, child := range strings.Fields(string(children)) {
			pid, err := strconv.Atoi(child)
			if err != nil {
				c.t.Fatal(err)
			}
			return pid
		}
	}
	c.t.Fatal("the program has no process but the first")
	return 0
}

// letsGo waits for all to be as if nothing had been held.
func (c *contained) letsGo(limit time.Duration) {
	c.t.Helper()
	began := time.Now()
	eventually(c.t, "the writer runs again", func() bool { return !inspect(c.t, c.Docker, c.writer).State.Paused })
	if took := time.Since(began); took > limit {
		c.t.Errorf("it took %v until the writer ran again", took)
	}
	eventually(c.t, "no guard and no journal is left", func() bool {
		journals, err := filepath.Glob(filepath.Join(c.state, "holds", "*.journal"))
		return err == nil && len(journals) == 0 && len(c.guards()) == 0
	})
	wantRunning(c.t, c.Docker, c.writer)
}

func TestInAContainerWhoeverDiesContainersRunAgain(t *testing.T) {
	const soon = 5 * time.Second // a loaded machine's two
	for name, tt := range map[string]struct {
		die   func(c *contained)
		limit time.Duration
	}{
		"the program's container": {func(c *contained) { c.kill(c.first(c.worker)) }, soon},
		"the program in it":       {func(c *contained) { c.kill(c.proper()) }, soon},
		"the guard":               {func(c *contained) { c.kill(c.first(c.guards()[0])) }, 2 * soon},
		// The engine starts the guard again, which finds its journal.
		"both": {func(c *contained) {
			guard := c.first(c.guards()[0])
			c.kill(c.first(c.worker))
			c.kill(guard)
		}, 2 * soon},
	} {
		t.Run(name, func(t *testing.T) {
			d := testenv.NewDocker(t)
			c := startContained(t, d, strings.TrimPrefix(d.Host, "unix://"))
			if n := len(c.guards()); n != 1 {
				t.Fatalf("%d guards beside the program, want 1", n)
			}
			tt.die(c)
			c.letsGo(tt.limit)
		})
	}
}

// The engine does not start a container again that it was asked to kill.
func TestTheContainerOfAGuardThatWasKilledGoesWithTheNextHold(t *testing.T) {
	d := testenv.NewDocker(t)
	c := startContained(t, d, strings.TrimPrefix(d.Host, "unix://"))
	left := c.guards()[0]
	must(t, d.API.ContainerKill(t.Context(), left, "KILL"))
	eventually(t, "the program ends", func() bool { return !inspect(t, d, c.worker).State.Running })
	wantRunning(t, d, c.writer)

	must(t, d.API.ContainerStart(t.Context(), c.worker, container.StartOptions{}))
	eventually(t, "the writer is held again", func() bool { return inspect(t, d, c.writer).State.Paused })
	if slices.Contains(c.guards(), left) {
		t.Error("the container of the guard that was killed is still there")
	}
	c.kill(c.first(c.worker))
	c.letsGo(5 * time.Second)
}

// Where the engine makes no containers for the program, the first process of its own outlives it and has the guard for a child.
func TestInAContainerOfAnEngineThatRefusesGuards(t *testing.T) {
	d := testenv.NewDocker(t)
	c := startContained(t, d, refusing(t, d.Host))
	if n := len(c.guards()); n != 0 {
		t.Fatalf("%d guards beside the program, want none", n)
	}
	if said := d.Logs(c.worker); !strings.Contains(said, "guarded from inside") {
		t.Errorf("there is no word of it:\n%s", said)
	}
	c.kill(c.proper())
	c.letsGo(5 * time.Second)
	eventually(t, "its container ends", func() bool { return !inspect(t, d, c.worker).State.Running })
	if code := inspect(t, d, c.worker).State.ExitCode; code != 137 {
		t.Errorf("its container ends with exit code %d, want that of a program that was killed", code)
	}
}

// refusing is the socket of a proxy before an engine that lets no container be made.
func refusing(t *testing.T, host string) (path string) {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "engine"})
	proxy.FlushInterval = -1 // events
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(host, "unix://"))
	}}
	dir, err := os.MkdirTemp("", "proxy-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path = filepath.Join(dir, "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/containers/create") {
			http.Error(w, `{"message":"forbidden by the proxy"}`, http.StatusForbidden)
			return
		}
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return path
}
