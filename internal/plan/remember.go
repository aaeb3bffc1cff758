package plan

import (
	"maps"
	"slices"

	"github.com/backupd/backupd/internal/engine"
)

// Remembered is what labels containers gave to one volume, by their names.
type Remembered = map[string]map[string]string

// Remember gives what to remember until the next Resolve, by volume, so that removing a container neither ends the backups of its
// volumes nor changes how they are made. Volumes are what Resolve made of the same input: of those that are gone, or that a label
// takes out, nothing is remembered.
func Remember(in Input, volumes []Volume) map[string]Remembered {
	all := make(map[string]Remembered)
	for _, v := range volumes {
		if v.Enrolled == "" {
			continue
		}
		memory := make(Remembered)
		for _, c := range v.Containers {
			if labels := memorable(c.Labels); len(labels) > 0 && c.Name != "" {
				memory[c.Name] = labels
			}
		}
		for _, name := range absent(v.Containers, in.Remembered[v.Name]) {
			memory[name] = memorable(in.Remembered[v.Name][name])
		}
		if len(memory) > 0 {
			all[v.Name] = memory
		}
	}
	return all
}

// absent gives the names of remembered containers that stand in for living ones. They do so as long as no living one says whether
// the volume is enrolled: one that does so replaces all that was before it, as when a container is made anew under another name.
func absent(living []engine.Container, memory Remembered) []string {
	present := make(map[string]bool)
	for _, c := range living {
		if _, speaks := c.Labels[keyEnable]; speaks {
			return nil
		}
		present[c.Name] = true
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(memory)) {
		if !present[name] {
			names = append(names, name)
		}
	}
	return names
}

// memorable gives the labels that are worth remembering. Of what is too long, so much stays that it is still too long: it must not
// become good by being remembered.
func memorable(labels map[string]string) map[string]string {
	kept := make(map[string]string)
	for _, key := range settingKeys() {
		if value, ok := labels[key]; ok {
			kept[key] = value[:min(len(value), maxLabel+1)]
		}
	}
	return kept
}
