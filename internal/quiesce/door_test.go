package quiesce_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/snapshot"
)

// on attaches it to a network, reached by those names.
func on(network string, names ...string) func(*engine.Container) {
	return func(c *engine.Container) {
		c.Networks = append(c.Networks, engine.Network{Name: network, ID: "id of " + network, Names: names})
	}
}

func networkOf(id string) func(*engine.Container) {
	return func(c *engine.Container) { c.NetworkOf = id }
}

func published(port string) func(*engine.Container) {
	return func(c *engine.Container) { c.Published = append(c.Published, port) }
}

// With each of these the container "proxy", or the one named, stands before the engine, and "app" never does.
func TestWhatTheEngineIsReachedThroughIsLeftOut(t *testing.T) {
	type list = []engine.Container
	app := container("app", writes, on("shop", "app", "172.18.0.9"), published("80"))
	self := container("self", on("shop", "172.18.0.2"))
	for name, tt := range map[string]struct {
		address string
		others  list
		want    string // names of those left out
	}{
		"a socket of the host":             {"unix:///var/run/docker.sock", list{self, container("proxy", writes, on("shop", "proxy"))}, ""},
		"by its name":                      {"tcp://proxy:2375", list{self, container("proxy", writes, on("shop"))}, "proxy"},
		"by its name, written otherwise":   {"tcp://Proxy.:2375", list{self, container("proxy", writes, on("shop"))}, "proxy"},
		"by an alias":                      {"tcp://docker-api:2375", list{self, container("proxy", writes, on("shop", "docker-api"))}, "proxy"},
		"by its compose service":           {"tcp://proxy:2375", list{self, container("proxy", writes, on("shop"), service(""))}, "proxy"},
		"by its address":                   {"tcp://172.18.0.3:2375", list{self, container("proxy", writes, on("shop", "172.18.0.3"))}, "proxy"},
		"by an IPv6 address":               {"tcp://[fd00::3]:2375", list{self, container("proxy", writes, on("shop", "fd00::3"))}, "proxy"},
		"by its address, from the host":    {"tcp://172.18.0.3:2375", list{container("proxy", writes, on("shop", "172.18.0.3"))}, "proxy"},
		"over TLS":                         {"https://proxy:2376", list{self, container("proxy", writes, on("shop"))}, "proxy"},
		"by its swarm service":             {"tcp://ops_proxy:2375", list{self, container("proxy", writes, on("shop"), label("com.docker.swarm.service.name", "ops_proxy"))}, "proxy"},
		"by its service's name in a stack": {"tcp://proxy:2375", list{self, container("p", writes, on("shop"), label("com.docker.swarm.service.name", "ops_proxy"), label("com.docker.stack.namespace", "ops"))}, "p"},
		"another of that name, out of reach": {"tcp://proxy:2375", list{self, container("1", writes, on("shop", "proxy")), container("2", writes, on("web", "proxy"))},
			"1"},
		"by a port of the host":               {"tcp://127.0.0.1:2375", list{container("proxy", writes, on("x"), published("2375"))}, "proxy"},
		"by a port of the host, from outside": {"tcp://nas.example:2375", list{container("proxy", writes, on("x"), published("2375"))}, "proxy"},
		"in the network of this program": {"tcp://localhost:2375", list{container("self", networkOf("id-proxy")), container("proxy", writes, on("x"))},
			"proxy"},
		"in this program's own network":  {"tcp://127.0.0.1:2375", list{self, container("proxy", writes, networkOf("id-self"))}, "proxy"},
		"beside another in one network":  {"tcp://vpn:2375", list{self, container("vpn", writes, on("shop")), container("proxy", writes, networkOf("id-vpn"))}, "proxy vpn"},
		"in the host's network":          {"tcp://127.0.0.1:2375", list{container("proxy", writes, on("host"), binds("/run/docker.sock"))}, "proxy"},
		"an engine that listens itself":  {"tcp://nas.example:2375", list{container("portainer", writes, on("x"), binds("/run/docker.sock"))}, ""},
		"one that does not run":          {"tcp://proxy:2375", list{self, container("proxy", writes, on("shop"), in(engine.Exited))}, ""},
		"one that does not use the data": {"tcp://proxy:2375", list{self, container("proxy", on("shop"))}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			scene := quiesce.Scene{Containers: append(list{app}, tt.others...), Self: "id-self", Door: quiesce.DoorAt(tt.address)}
			plan, err := quiesce.Select(quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause}, scene)
			must(t, err)
			var left []string
			for _, c := range plan.Doors {
				left = append(left, c.Name)
			}
			if got := strings.Join(left, " "); got != tt.want {
				t.Errorf("left out %q, want %q", got, tt.want)
			}
			held := summary(plan)
			if !strings.Contains(held, "pause app") {
				t.Errorf("app is not held: %s", held)
			}
			for _, name := range left {
				if strings.Contains(held, "pause "+name) {
					t.Errorf("%s is held", name)
				}
			}
		})
	}
}

func TestWhatTheEngineIsReachedThroughIsNotStopped(t *testing.T) {
	replicated := map[string]engine.Service{"s1": {ID: "s1", Name: "ops", Kind: engine.Replicated, Replicas: 2}}
	for name, containers := range map[string][]engine.Container{
		"for a restore":    {container("proxy", reads, on("shop"))},
		"with its service": {container("proxy", task, on("shop")), container("other", writes, task)},
	} {
		t.Run(name, func(t *testing.T) {
			req := quiesce.Request{Volumes: []engine.Volume{data}, Readers: true}
			_, err := quiesce.Select(req, quiesce.Scene{Containers: containers, Services: replicated, Door: quiesce.DoorAt("tcp://proxy:2375")})
			if err == nil || !strings.Contains(err.Error(), `container "proxy" would have to be stopped, and the engine is reached through it`) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// A door that could write leaves a doubt, which says why.
func TestAHoldWithADoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, container("app", writes), container("proxy", writes, on("shop")))
		k := quiesce.New(w, quiesce.Options{Dir: t.TempDir(), Door: quiesce.DoorAt("tcp://proxy:2375"), Now: time.Now})
		h, err := k.Hold(t.Context(), quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause})
		must(t, err)
		if s := w.states(t); s["app"] != engine.Paused || s["proxy"] != engine.Running {
			t.Errorf("while held %v", s)
		}
		report, err := h.Release(t.Context())
		must(t, err)
		if report.Grade != snapshot.Fuzzy || len(report.Reasons) != 1 || !strings.Contains(report.Reasons[0], `container "proxy" ran and could write: the engine is reached through it`) {
			t.Errorf("%s (%q)", report.Grade, report.Reasons)
		}
	})
}
