// Package plan decides what is to be backed up and how: it makes volumes with settings, each with its origin, of labels, defaults and
// what is remembered, and jobs of volumes that are due together.
//
// It promises that a bad label is a named problem of its volume, never a crash, and never a volume that is left out in silence. It is
// pure: what exists comes in as values, and when things run, and how containers are held, is for other packages.
package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/schedule"
	"github.com/backupd/backupd/internal/snapshot"
)

// Setting is a value and where it came from.
type Setting[T any] struct {
	Value  T
	Origin Origin
}

// Settings are all that can be set for one volume.
type Settings struct {
	Schedule  Setting[schedule.Spec]
	Retention Setting[retention.Policy]
	Quiesce   Setting[quiesce.Mode]
	Limit     Setting[time.Duration] // longest time that containers may be held
	Targets   Setting[[]string]      // names
	Exclude   Setting[[]string]      // patterns of package archive
	Group     Setting[string]        // volumes of one group share one moment; "" is none

	Drill     Setting[schedule.Spec] // when the newest snapshot is tried out; the zero one is never
	DrillExec Setting[[]string]      // a command that is run then, in what was started on it; nil is none
	DrillEnv  Setting[string]        // path of a file with the environment of what is started; "" is none
}

// Volume is a volume that somebody wants to be backed up.
type Volume struct {
	engine.Volume
	Settings
	Enrolled   Origin             // what says so; "" when only its labels' other content hints at it, and it is Refused
	Containers []engine.Container // that mount it, by name, running or not
	Problems   []Problem
	Refused    bool // not to be backed up until its problems are mended, which each run must say
}

// Problem is something wrong with what somebody wrote about a volume.
type Problem struct {
	Setting string // key of the label, or "" when it is about the volume itself
	Origin  Origin // of the label
	Text    string // what is wrong, what happens instead or how to mend it
}

func (p Problem) String() string {
	switch {
	case p.Setting == "":
		return p.Text
	case p.Origin == "":
		return fmt.Sprintf("%s: %s", p.Setting, p.Text)
	default:
		return fmt.Sprintf("%s (%s): %s", p.Setting, p.Origin, p.Text)
	}
}

// Input is all that Resolve looks at.
type Input struct {
	Volumes    []engine.Volume
	Containers []engine.Container
	Defaults   Settings
	Targets    []string // names of all that are set up
	Overrides  Overrides
	Remembered map[string]Remembered // by volume: what Remember gave last time
	All        bool                  // every volume is enrolled and none can be held, as with the dir source
}

// Resolve gives the volumes that are enrolled, by name, with their settings and problems.
func Resolve(in Input) []Volume {
	var volumes []Volume
	for _, v := range in.Volumes {
		r := newResolver(in, v)
		if r.enrol() {
			r.settings()
			r.checkName()
			r.checkLabels()
			volumes = append(volumes, r.volume)
		}
	}
	slices.SortStableFunc(volumes, func(a, b Volume) int { return cmp.Compare(a.Name, b.Name) })
	checkGroups(volumes)
	return volumes
}

func (r *resolver) checkName() {
	if n := len(snapshot.Escape(r.volume.Name)); n == 0 || n > snapshot.MaxName {
		r.refuse(Problem{Text: fmt.Sprintf("its name takes %d bytes on a target, percent-encoded, and 1 to %d are possible; %s", n, snapshot.MaxName, refused)})
	}
}

// checkGroups tells the volumes of a group what keeps them from one moment.
func checkGroups(volumes []Volume) {
	groups := make(map[string][]*Volume)
	for i := range volumes {
		if name := volumes[i].Group.Value; name != "" {
			groups[name] = append(groups[name], &volumes[i])
		}
	}
	for _, members := range groups {
		mode := func(v *Volume) string { return v.Quiesce.Value.String() }
		checkAlike(members, keyQuiesce, mode, "the strictest one counts for all when they are backed up together")
		spec := func(v *Volume) string { return v.Schedule.Value.String() }
		checkAlike(members, keySchedule, spec, "they share a moment only when they are due together")
	}
}

func checkAlike(members []*Volume, key string, value func(*Volume) string, otherwise string) {
	first := members[0]
	i := slices.IndexFunc(members, func(v *Volume) bool { return value(v) != value(first) })
	if i < 0 {
		return
	}
	text := fmt.Sprintf("volumes of group %s differ: %s has %s and %s has %s; %s", show(first.Group.Value),
		show(first.Name), show(value(first)), show(members[i].Name), show(value(members[i])), otherwise)
	for _, v := range members {
		v.Problems = append(v.Problems, Problem{Setting: key, Text: text})
	}
}
