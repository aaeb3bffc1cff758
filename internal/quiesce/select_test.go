package quiesce_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/quiesce"
)

// summary is a plan as text: steps in order, then what is held already, then what is left to run.
func summary(p quiesce.Plan) string {
	var words []string
	for _, s := range p.Steps {
		word := fmt.Sprintf("%s %s", s.How, s.Container.Name)
		if len(s.Tasks) > 1 {
			word += fmt.Sprintf(" %d (%s)", s.Replicas, strings.ReplaceAll(strings.Join(s.Tasks, " "), "id-", ""))
		}
		words = append(words, word)
	}
	for _, c := range p.Paused {
		words = append(words, "found "+c.Name)
	}
	for _, c := range p.Active {
		words = append(words, "left "+c.Name)
	}
	return strings.Join(words, ", ")
}

func TestSelect(t *testing.T) {
	kind := func(kind engine.ServiceKind) map[string]engine.Service {
		return map[string]engine.Service{"s1": {ID: "s1", Name: "shop", Kind: kind, Replicas: 3}}
	}
	type list = []engine.Container
	for name, tt := range map[string]struct {
		mode       quiesce.Mode
		readers    bool
		containers list
		services   map[string]engine.Service
		want, err  string
	}{
		"nothing uses the volume":                  {mode: "pause", containers: list{container("a")}},
		"a writer is paused":                       {mode: "pause", containers: list{container("a", writes)}, want: "pause a"},
		"a writer is stopped":                      {mode: "stop", containers: list{container("a", writes)}, want: "stop a"},
		"a reader is left alone":                   {mode: "pause", containers: list{container("a", reads)}},
		"a mount through --volumes-from counts":    {mode: "pause", containers: list{container("a", reads, writes)}, want: "pause a"},
		"a bind of the volume's folder counts":     {mode: "pause", containers: list{container("a", binds(data.Mountpoint))}, want: "pause a"},
		"a bind of a folder inside counts":         {mode: "pause", containers: list{container("a", binds(data.Mountpoint+"/x"))}, want: "pause a"},
		"a bind of all volumes does not":           {mode: "pause", containers: list{container("a", binds("/var/lib/docker/volumes"))}},
		"a bind of a longer name does not":         {mode: "pause", containers: list{container("a", binds(data.Mountpoint+"2"))}},
		"this program's own container is left out": {mode: "pause", containers: list{container("self-and-more", writes)}},
		"what does not run stays as it is": {mode: "stop", containers: list{
			container("a", writes, in(engine.Exited)), container("b", writes, in(engine.Created)), container("c", writes, in(engine.Dead)),
			container("d", writes, in(engine.Removing)),
		}},
		"one paused already is not ours":         {mode: "stop", containers: list{container("a", writes, in(engine.Paused))}, want: "found a"},
		"one between two starts can't be paused": {mode: "pause", containers: list{container("a", writes, in(engine.Restarting))}, want: "stop a"},
		"--rm is never stopped":                  {mode: "stop", containers: list{container("a", writes, autoRemove)}, want: "pause a"},
		"a swarm task is paused":                 {mode: "pause", containers: list{container("a", writes, task)}, want: "pause a"},
		"to stop a swarm task its service goes":  {mode: "stop", containers: list{container("a", writes, task)}, services: kind(engine.Replicated), want: "scale shop"},
		"a service is scaled once for all its tasks": {mode: "stop", services: kind(engine.Replicated), containers: list{
			container("a", writes, task), container("b", writes), container("c", task), container("d", writes, task),
			container("e", writes, task, in(engine.Paused)), container("f", writes, task, in(engine.Exited)),
		}, want: "scale shop 3 (a c d e), stop b"},
		"a service with paused tasks alone is let be": {mode: "stop", services: kind(engine.Replicated), containers: list{
			container("a", writes, task, in(engine.Paused)),
		}, want: "found a"},
		"a global service refuses to stop": {mode: "stop", containers: list{container("a", writes, task)}, services: kind(engine.Global),
			err: `container "a" uses the volume as a task of swarm service "shop" (global), which cannot be scaled`},
		"a job refuses to stop":                    {mode: "stop", containers: list{container("a", writes, task)}, services: kind(engine.ReplicatedJob), err: "(replicated job)"},
		"a service that is gone refuses to stop":   {mode: "stop", containers: list{container("a", writes, task)}, err: "unknown swarm service"},
		"a service of readers is let be":           {mode: "stop", containers: list{container("a", reads, task)}},
		"mode none leaves all alone":               {mode: "none", containers: list{container("a", writes)}, want: "left a"},
		"an unknown mode is an error":              {mode: "freeze", err: "pause, stop or none"},
		"no mode is an error":                      {mode: "", err: "pause, stop or none"},
		"apps come before what they depend on":     {mode: "pause", containers: list{container("app", writes, service("db:service_healthy:false,cache:service_started:true")), container("cache", writes, service("")), container("db", writes, service("cache:x"))}, want: "pause app, pause db, pause cache"},
		"a dependency through a third one counts":  {mode: "pause", containers: list{container("a", writes, service("")), container("b", service("a")), container("c", writes, service("b"))}, want: "pause c, pause a"},
		"a circle is cut somewhere":                {mode: "pause", containers: list{container("a", writes, service("b")), container("b", writes, service("a"))}, want: "pause b, pause a"},
		"a service may depend on itself":           {mode: "pause", containers: list{container("a", writes, service("a"))}, want: "pause a"},
		"malformed dependencies are no dependency": {mode: "pause", containers: list{container("a", writes, service(" ,:,::,\n:x")), container("b", writes)}, want: "pause a, pause b"},
		"another project's service is another": {mode: "pause", containers: list{
			container("a", writes, service("")), container("b", writes, service("a"), label("com.docker.compose.project", "q")),
		}, want: "pause a, pause b"},

		"a restore stops readers too":            {mode: "pause", readers: true, containers: list{container("a", reads), container("b", writes)}, want: "stop a, stop b"},
		"a restore needs no mode":                {readers: true, containers: list{container("a", reads)}, want: "stop a"},
		"a restore refuses --rm":                 {readers: true, containers: list{container("a", reads, autoRemove)}, err: "--rm"},
		"a restore lets a dead --rm be":          {readers: true, containers: list{container("a", reads, autoRemove, in(engine.Exited))}},
		"a restore scales services":              {readers: true, containers: list{container("a", reads, task)}, services: kind(engine.Replicated), want: "scale shop"},
		"a restore refuses global services":      {readers: true, containers: list{container("a", reads, task)}, services: kind(engine.Global), err: "global"},
		"a restore refuses paused tasks":         {readers: true, containers: list{container("a", reads, task, in(engine.Paused))}, services: kind(engine.Replicated), err: "paused"},
		"a restore refuses what somebody paused": {readers: true, containers: list{container("a", reads, in(engine.Paused))}, err: "paused"},
	} {
		t.Run(name, func(t *testing.T) {
			req := quiesce.Request{Volumes: []engine.Volume{data}, Mode: tt.mode, Readers: tt.readers}
			plan, err := quiesce.Select(req, quiesce.Scene{Containers: tt.containers, Services: tt.services, Self: "id-self"})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, summary(plan)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Whatever depends on what, each container is held once, and without circles each before all that it depends on.
func TestSelectOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 8).Draw(t, "containers")
		circles := rapid.Bool().Draw(t, "circles")
		needs := make(map[string][]string)
		var containers []engine.Container
		for i := range n {
			id := string(rune('a' + i))
			for j := range n {
				if (j < i || circles) && rapid.Bool().Draw(t, "depends") {
					needs[id] = append(needs[id], string(rune('a'+j)))
				}
			}
			containers = append(containers, container(id, writes, service(strings.Join(needs[id], ":c:false,"))))
		}
		containers = rapid.Permutation(containers).Draw(t, "order")
		plan, err := quiesce.Select(quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause}, quiesce.Scene{Containers: containers})
		if err != nil {
			t.Fatal(err)
		}
		var order []string
		for _, s := range plan.Steps {
			order = append(order, s.Container.Name)
		}
		if sorted := slices.Compact(slices.Sorted(slices.Values(order))); len(sorted) != n || len(order) != n {
			t.Fatalf("%d containers gave steps %v", n, order)
		}
		for id, needed := range needs {
			for _, other := range needed {
				if !circles && slices.Index(order, id) > slices.Index(order, other) {
					t.Errorf("%s depends on %s and comes after it: %v", id, other, order)
				}
			}
		}
	})
}

// muted is an engine whose list says of some containers that it does not answer about them.
type muted struct {
	*world
	names   []string
	forGood bool
}

func (m muted) Containers(ctx context.Context) ([]engine.Container, error) {
	all, err := m.world.Containers(ctx)
	for i := range all {
		all[i].Mute = slices.Contains(m.names, all[i].Name)
	}
	return all, err
}

func (m muted) Container(ctx context.Context, id string) (engine.Container, error) {
	c, err := m.world.Container(ctx, id)
	if m.forGood && slices.Contains(m.names, c.Name) {
		return engine.Container{}, fmt.Errorf("inspect: %w", engine.ErrUnreachable)
	}
	return c, err
}

func TestAMuteContainerStopsOnlyWhatConcernsIt(t *testing.T) {
	for name, tt := range map[string]struct {
		muted     []string
		forGood   bool
		want, err string
	}{
		"a stranger":                    {muted: []string{"stranger"}, forGood: true, want: "pause app"},
		"a reader":                      {muted: []string{"reader"}, forGood: true, want: "pause app"},
		"a writer that answers later":   {muted: []string{"app"}, want: "pause app"},
		"a writer that answers nothing": {muted: []string{"app"}, forGood: true, err: `container "app" uses the volume, and the engine does not say`},
	} {
		t.Run(name, func(t *testing.T) {
			w := muted{newWorld(t, container("app", writes), container("reader", reads), container("stranger")), tt.muted, tt.forGood}
			all, err := w.Containers(t.Context())
			must(t, err)
			plan, err := quiesce.Prepare(t.Context(), w, quiesce.Request{Volumes: []engine.Volume{data}, Mode: quiesce.Pause},
				quiesce.Scene{Containers: all})
			if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) || tt.err == "" && err != nil {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if got := summary(plan); got != tt.want {
				t.Errorf("the plan is %q, want %q", got, tt.want)
			}
		})
	}
}

func TestModeAsText(t *testing.T) {
	for _, text := range []string{"pause", "stop", "none"} {
		var m quiesce.Mode
		if err := m.UnmarshalText([]byte(text)); err != nil || m.String() != text {
			t.Errorf("%q is read as %q, %v", text, m, err)
		}
	}
	for _, text := range []string{"", "Pause", "pause ", "freeze", "stop\n"} {
		m := quiesce.Mode(quiesce.None)
		if err := m.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "pause, stop or none") || m != quiesce.None {
			t.Errorf("%q is read as %q with error %v", text, m, err)
		}
	}
}
