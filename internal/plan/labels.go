package plan

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/spelling"
)

// The labels.
const (
	prefix       = "backupd."
	keyEnable    = prefix + "enable"
	keySchedule  = prefix + "schedule"
	keyRetention = prefix + "retention"
	keyQuiesce   = prefix + "quiesce"
	keyLimit     = prefix + "quiesce.limit"
	keyTargets   = prefix + "targets"
	keyExclude   = prefix + "exclude"
	keyGroup     = prefix + "group"
	keyDrill     = prefix + "drill"
	keyDrillExec = prefix + "drill.exec"
	keyDrillEnv  = prefix + "drill.env-file"

	// Of a container alone. Which there are, package quiesce knows, as it reads them where the container is held.
	hookPrefix = prefix + "hook."

	// What package access marks its own passing volumes with. That does not mean anybody wants them backed up.
	keyScratch = prefix + "scratch"
)

func settingKeys() []string {
	return []string{keyEnable, keySchedule, keyRetention, keyQuiesce, keyLimit, keyTargets, keyExclude, keyGroup, keyDrill, keyDrillExec, keyDrillEnv}
}

// ours tells whether somebody who wrote the key had backupd in mind.
func ours(key string) bool {
	return len(key) >= len(prefix) && strings.EqualFold(key[:len(prefix)], prefix)
}

// nearest guesses which label was meant.
func nearest(key string, among []string) string {
	var names []string
	for _, known := range among {
		names = append(names, strings.TrimPrefix(known, prefix))
	}
	if name := spelling.Nearest(strings.ToLower(key[len(prefix):]), names); name != "" {
		return prefix + name
	}
	return ""
}

// Origin is where a setting came from, in words.
type Origin string

// The origins, except for labels of containers, which are named.
const (
	Default       Origin = "default"
	Environment   Origin = "environment"
	VolumeLabel   Origin = "label of the volume"
	OverridesFile Origin = "overrides file"
	DirSource     Origin = "dir source"               // enrols all its volumes
	Fallback      Origin = "in place of a bad label"  // where the default would not be safe
	several       Origin = "labels of its containers" // that contradict each other
)

func (o Origin) String() string { return string(o) }

func containerLabel(name string) Origin { return Origin("label of container " + plain(name)) }

func goneLabel(name string) Origin { return containerLabel(name) + " (gone)" }

// source is something that carries labels.
type source struct {
	origin Origin
	labels map[string]string
	hooks  bool // it is a container that there is
}

// claim is what a label says.
type claim struct {
	origin Origin
	value  string
}

// maxLabel is the longest value, in bytes, that is looked at.
const maxLabel = 4 << 10

// claim gives what the strongest layer says about a setting, or nil when nobody says anything. With the error, it is nothing that
// could be followed. What a stronger layer overrules is not looked at: overruling a bad label is the way to mend one, as Docker
// cannot relabel a volume.
func (r *resolver) claim(key string) (*claim, error) {
	for _, layer := range r.layers {
		var claims []claim
		for _, s := range layer {
			if value, ok := s.labels[key]; ok {
				claims = append(claims, claim{s.origin, strings.TrimSpace(value)})
			}
		}
		if len(claims) > 0 {
			return agreed(claims)
		}
	}
	return nil, nil
}

func agreed(claims []claim) (*claim, error) {
	first := claims[0]
	for _, c := range claims[1:] {
		if c.value != first.value {
			err := fmt.Errorf("they contradict each other: %s for the %s, %s for the %s", show(first.value), first.origin, show(c.value), c.origin)
			return &claim{origin: several}, err
		}
	}
	switch {
	case first.value == "":
		return &first, errors.New("it is empty")
	case len(first.value) > maxLabel:
		return &first, fmt.Errorf("it has %d bytes, and at most %d are possible", len(first.value), maxLabel)
	}
	return &first, nil
}

// checkLabels names the labels that nothing understands.
func (r *resolver) checkLabels() {
	for _, layer := range r.layers {
		for _, s := range layer {
			var unknown []string
			for _, key := range slices.Sorted(maps.Keys(s.labels)) {
				switch {
				case strings.HasPrefix(key, hookPrefix):
					r.checkHook(key, s)
				case ours(key) && !slices.Contains(settingKeys(), key):
					unknown = append(unknown, key)
				}
			}
			r.unknown(s.origin, unknown)
		}
	}
}

// checkHook refuses a volume with a hook that would not run: without it the data may not be consistent.
func (r *resolver) checkHook(key string, s source) {
	var err error
	switch {
	case !slices.Contains(quiesce.HookLabels(), key):
		err = fmt.Errorf("there is no such hook, only %s", strings.Join(quiesce.HookLabels(), ", "))
	case !s.hooks:
		err = errors.New("hooks run in a container, which has to have the label itself")
	default:
		err = quiesce.CheckHook(key, s.labels[key])
	}
	if err != nil {
		r.refuse(Problem{plain(key), s.origin, err.Error() + "; " + refused})
	}
}

// unknown names some labels; how many there are is in the hands of whoever made the container.
func (r *resolver) unknown(origin Origin, keys []string) {
	const named = 5
	for i, key := range keys {
		if i == named {
			r.problem(Problem{plain(key), origin, fmt.Sprintf("unknown label, as are %d more here", len(keys)-named-1)})
			return
		}
		text := "unknown label"
		if meant := nearest(key, append(settingKeys(), quiesce.HookLabels()...)); meant != "" {
			text += ": did you mean " + meant + "?"
		}
		r.problem(Problem{plain(key), origin, text})
	}
}

// meant tells whether somebody seems to have wanted a volume to be enrolled that nothing enrols: it has labels of ours, or a
// container's label is a misspelt backupd.enable. Other labels of a container may be meant for another of its volumes.
func (r *resolver) meant() bool {
	for _, own := range []map[string]string{r.volume.Labels, r.overrides} {
		for key := range own {
			if ours(key) && key != keyScratch {
				return true
			}
		}
	}
	return slices.ContainsFunc(r.volume.Containers, func(c engine.Container) bool {
		for key := range c.Labels {
			if ours(key) && !slices.Contains(settingKeys(), key) && nearest(key, settingKeys()) == keyEnable {
				return true
			}
		}
		return false
	})
}

// mounting gives the containers that mount the volume, by name.
func mounting(v engine.Volume, containers []engine.Container) []engine.Container {
	var found []engine.Container
	for _, c := range containers {
		if mounts, _ := c.Mounting(v); mounts {
			found = append(found, c)
		}
	}
	slices.SortStableFunc(found, func(a, b engine.Container) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return found
}

// show quotes what may be long, or not fit for a terminal.
func show(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}

// plain leaves out the quotes where nothing needs them.
func plain(s string) string {
	if quoted := show(s); quoted != `"`+s+`"` || s == "" || strings.Contains(s, " ") {
		return quoted
	}
	return s
}
