// Package project says which volumes make up a compose project, and to which moments they go back together. It decides purely, by what
// was recorded; restoring is package restore's part.
package project

import (
	"slices"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/snapshot"
)

// Of names the projects that a volume is of, sorted: by its label, which docker compose gives to what it makes, and by the containers
// that mounted it, as a project may use volumes that it has not made.
func Of(facts snapshot.Restore) []string {
	names := []string{engine.Volume{Labels: facts.Labels}.Project()}
	for _, c := range facts.Containers {
		names = append(names, c.Project)
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
}
