package quiesce

import (
	"cmp"
	"slices"
	"strings"

	"github.com/backupd/backupd/internal/engine"
)

// dependsOn is compose's label for what a service needs, as in "db:service_healthy:false,cache:service_started:true".
const dependsOn = "com.docker.compose.depends_on"

type service struct{ project, name string }

// inOrder gives the containers with each before all that it depends on, directly or through others, and by name where that leaves a
// choice. Where services depend on each other in a circle, some order is chosen.
func inOrder(containers []engine.Container) []engine.Container {
	byName := slices.SortedFunc(slices.Values(containers), func(a, b engine.Container) int {
		return cmp.Or(-cmp.Compare(a.Name, b.Name), -cmp.Compare(a.ID, b.ID))
	})
	of := make(map[service][]engine.Container)
	for _, c := range byName {
		if c.Service() != "" {
			s := service{c.Project(), c.Service()}
			of[s] = append(of[s], c)
		}
	}
	// A depth-first walk that lists a container after all it needs, read backwards. The walk takes names backwards too, so that they
	// come out forwards.
	var needsFirst []engine.Container
	visited := make(map[string]bool)
	var visit func(engine.Container)
	visit = func(c engine.Container) {
		if visited[c.ID] {
			return
		}
		visited[c.ID] = true
		for _, name := range needs(c) {
			for _, needed := range of[service{c.Project(), name}] {
				visit(needed)
			}
		}
		needsFirst = append(needsFirst, c)
	}
	for _, c := range byName {
		visit(c)
	}
	slices.Reverse(needsFirst)
	return needsFirst
}

// needs are the services of its own project that the container depends on.
func needs(c engine.Container) []string {
	var names []string
	for entry := range strings.SplitSeq(c.Labels[dependsOn], ",") {
		if name, _, _ := strings.Cut(strings.TrimSpace(entry), ":"); name != "" {
			names = append(names, name)
		}
	}
	return names
}
