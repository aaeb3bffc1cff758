package plan

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/schedule"
)

const refused = "the volume is not backed up"

// resolver works out one volume.
type resolver struct {
	in        Input
	volume    Volume
	overrides map[string]string
	layers    [][]source // of labels, the strongest first
}

func newResolver(in Input, v engine.Volume) *resolver {
	r := &resolver{in: in, overrides: in.Overrides[v.Name]}
	r.volume = Volume{Volume: v, Settings: in.Defaults, Containers: mounting(v, in.Containers)}
	var living, gone []source
	for _, c := range r.volume.Containers {
		living = append(living, source{containerLabel(c.Name), c.Labels, true})
	}
	for _, name := range absent(r.volume.Containers, in.Remembered[v.Name]) {
		gone = append(gone, source{origin: goneLabel(name), labels: in.Remembered[v.Name][name]})
	}
	r.layers = [][]source{{{origin: OverridesFile, labels: r.overrides}}, {{origin: VolumeLabel, labels: v.Labels}}, living, gone}
	return r
}

// enrol tells whether the volume is among those to be backed up, or to be complained about.
func (r *resolver) enrol() bool {
	c, err := r.claim(keyEnable)
	switch {
	case c == nil && r.in.All:
		r.volume.Enrolled = DirSource
		return true
	case c == nil:
		if r.meant() {
			r.refuse(Problem{Setting: keyEnable, Text: "it has labels for backupd, but none that says " + keyEnable + "=true; " + refused})
		}
		return r.volume.Refused
	}
	enable := true
	if err == nil {
		enable, err = parseEnable(c.value)
	}
	if err != nil {
		enable = true
		r.problem(Problem{keyEnable, c.origin, err.Error() + "; the volume is backed up"})
	}
	r.volume.Enrolled = c.origin
	return enable
}

// settings works out each setting. One that is bad gets the value that does the least harm: the default, unless that could lose
// snapshots or send data where somebody did not want it.
func (r *resolver) settings() {
	const (
		general  = "the setting for all volumes is used"
		prunes   = "nothing is pruned"
		excludes = "nothing is excluded"
		grouped  = "it is in no group"
		unasked  = "drills run no command of yours"
		bare     = "drills use no file of variables"
	)
	v, d := &r.volume, r.in.Defaults
	v.Schedule = settle(r, keySchedule, d.Schedule, d.Schedule, general, schedule.Parse)
	v.Retention = settle(r, keyRetention, d.Retention, Setting[retention.Policy]{retention.Policy{All: true}, Fallback}, prunes, retention.Parse)
	v.Quiesce = settle(r, keyQuiesce, d.Quiesce, d.Quiesce, general, r.parseQuiesce)
	v.Limit = settle(r, keyLimit, d.Limit, d.Limit, general, ParseLimit)
	v.Exclude = settle(r, keyExclude, d.Exclude, Setting[[]string]{nil, Fallback}, excludes, parseExclude)
	v.Group = settle(r, keyGroup, d.Group, Setting[string]{"", Fallback}, grouped, parseGroup)
	v.Drill = settle(r, keyDrill, d.Drill, d.Drill, general, r.parseDrill)
	v.DrillExec = settle(r, keyDrillExec, d.DrillExec, Setting[[]string]{nil, Fallback}, unasked, quiesce.ParseCommand)
	v.DrillEnv = settle(r, keyDrillEnv, d.DrillEnv, Setting[string]{"", Fallback}, bare, parsePath)
	v.Targets = settle(r, keyTargets, d.Targets, Setting[[]string]{nil, Fallback}, refused, parseList)
	r.checkTargets()
}

// settle works out one setting: unset when no label speaks of it, bad when one does that cannot be followed.
func settle[T any](r *resolver, key string, unset, bad Setting[T], instead string, parse func(string) (T, error)) Setting[T] {
	c, err := r.claim(key)
	if c == nil {
		return unset
	}
	var value T
	if err == nil {
		value, err = parse(c.value)
	}
	if err != nil {
		r.problem(Problem{key, c.origin, err.Error() + "; " + instead})
		return bad
	}
	return Setting[T]{value, c.origin}
}

// checkTargets leaves out targets that are not set up. Another one is never taken in place of those that were named.
func (r *resolver) checkTargets() {
	targets := &r.volume.Targets
	var known []string
	for _, name := range targets.Value {
		if slices.Contains(r.in.Targets, name) {
			known = append(known, name)
			continue
		}
		text := fmt.Sprintf("there is no target %s, only %s; it is left out", show(name), strings.Join(r.in.Targets, ", "))
		r.problem(Problem{keyTargets, targets.Origin, text})
	}
	if len(known) == 0 && len(targets.Value) > 0 {
		r.problem(Problem{keyTargets, targets.Origin, "no target is left; " + refused})
	}
	targets.Value = known
	r.volume.Refused = r.volume.Refused || len(known) == 0
}

func (r *resolver) problem(p Problem) { r.volume.Problems = append(r.volume.Problems, p) }

func (r *resolver) refuse(p Problem) {
	r.problem(p)
	r.volume.Refused = true
}

func parseEnable(text string) (bool, error) {
	yes, err := strconv.ParseBool(strings.ToLower(text))
	if err != nil {
		return false, fmt.Errorf("%s is neither true nor false", show(text))
	}
	return yes, nil
}

func (r *resolver) parseQuiesce(text string) (m quiesce.Mode, err error) {
	if err := m.UnmarshalText([]byte(text)); err != nil {
		return "", err
	}
	if r.in.All && m != quiesce.None {
		return "", fmt.Errorf("%q cannot be: the dir source can hold nothing", m)
	}
	return m, nil
}

func (r *resolver) parseDrill(text string) (schedule.Spec, error) {
	spec, err := schedule.ParseOptional(text)
	if err == nil && spec.String() != "" && r.in.All {
		return schedule.Spec{}, errors.New("drills cannot be: the dir source can start nothing")
	}
	return spec, err
}

// maxLimit is longer than any backup should hold containers, and shorter than what a slip of the keyboard makes of "5m".
const maxLimit = 24 * time.Hour

// ParseLimit reads the longest time that containers may be held.
func ParseLimit(text string) (time.Duration, error) {
	limit, err := time.ParseDuration(text)
	if err != nil || limit <= 0 || limit > maxLimit {
		return 0, fmt.Errorf("%s is no time that containers can be held for: write one such as 90s, 5m or 1h30m, at most %v", show(text), maxLimit)
	}
	return limit, nil
}

// parseList reads names with commas between them, each once.
func parseList(text string) ([]string, error) {
	var names []string
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s names nothing", show(text))
	}
	return names, nil
}

// parseExclude reads patterns with commas or line ends between them. Commas within braces are part of a pattern.
func parseExclude(text string) ([]string, error) {
	depth := 0
	split := func(c rune) bool {
		switch c {
		case '{':
			depth++
		case '}':
			depth--
		}
		return c == '\n' || c == ',' && depth == 0
	}
	var patterns []string
	for _, pattern := range strings.FieldsFunc(text, split) {
		if pattern = strings.TrimSpace(pattern); pattern == "" {
			continue
		}
		if err := archive.ValidateGlob(pattern); err != nil {
			return nil, err
		}
		patterns = append(patterns, pattern)
	}
	if len(patterns) == 0 {
		return nil, errors.New("it names no pattern")
	}
	return patterns, nil
}

func parsePath(text string) (string, error) {
	if !filepath.IsAbs(text) || strings.Contains(text, "\x00") {
		return "", fmt.Errorf("%s is no absolute path", show(text))
	}
	return filepath.Clean(text), nil
}

func parseGroup(text string) (string, error) {
	const most = 100
	if len(text) > most || strings.ContainsFunc(text, func(c rune) bool { return !strconv.IsPrint(c) }) {
		return "", fmt.Errorf("%s is no name for a group: it takes up to %d bytes that can be printed", show(text), most)
	}
	return text, nil
}
