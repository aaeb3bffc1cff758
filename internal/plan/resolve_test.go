package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/schedule"
)

type labels = map[string]string

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// input has one volume, "app", and targets "local" and "offsite".
func input(own labels, containers ...engine.Container) Input {
	return Input{
		Volumes:    []engine.Volume{{Name: "app", Labels: own}},
		Containers: containers,
		Targets:    []string{"local", "offsite"},
		Defaults: Settings{
			Schedule:  Setting[schedule.Spec]{must(schedule.Parse("@daily")), Default},
			Retention: Setting[retention.Policy]{must(retention.Parse("last=3")), Environment},
			Quiesce:   Setting[quiesce.Mode]{quiesce.Pause, Default},
			Limit:     Setting[time.Duration]{5 * time.Minute, Default},
			Targets:   Setting[[]string]{[]string{"local", "offsite"}, Environment},
			Exclude:   Setting[[]string]{nil, Default},
			Group:     Setting[string]{"", Default},
			Drill:     Setting[schedule.Spec]{must(schedule.Parse("@monthly")), Environment},
			DrillExec: Setting[[]string]{nil, Default},
			DrillEnv:  Setting[string]{"", Default},
		},
	}
}

// container is a running one that writes to the volume "app".
func container(name string, given labels) engine.Container {
	return engine.Container{ID: "id-" + name, Name: name, Labels: given, State: engine.Running, Mounts: []engine.Mount{{Volume: "app"}}}
}

func enabled(more ...string) labels {
	l := labels{"backupd.enable": "true"}
	for i := 0; i < len(more); i += 2 {
		l[more[i]] = more[i+1]
	}
	return l
}

// text gives a setting as "value (origin)", the way people see it.
func text(v Volume, key string) string {
	switch key {
	case keySchedule:
		return v.Schedule.Value.String() + " (" + v.Schedule.Origin.String() + ")"
	case keyRetention:
		return v.Retention.Value.String() + " (" + v.Retention.Origin.String() + ")"
	case keyQuiesce:
		return v.Quiesce.Value.String() + " (" + v.Quiesce.Origin.String() + ")"
	case keyLimit:
		return v.Limit.Value.String() + " (" + v.Limit.Origin.String() + ")"
	case keyTargets:
		return strings.Join(v.Targets.Value, " ") + " (" + v.Targets.Origin.String() + ")"
	case keyExclude:
		return strings.Join(v.Exclude.Value, " ") + " (" + v.Exclude.Origin.String() + ")"
	case keyGroup:
		return v.Group.Value + " (" + v.Group.Origin.String() + ")"
	case keyDrill:
		return v.Drill.Value.String() + " (" + v.Drill.Origin.String() + ")"
	case keyDrillExec:
		return strings.Join(v.DrillExec.Value, "|") + " (" + v.DrillExec.Origin.String() + ")"
	case keyDrillEnv:
		return v.DrillEnv.Value + " (" + v.DrillEnv.Origin.String() + ")"
	}
	return v.Enrolled.String()
}

func problems(v Volume) []string {
	var texts []string
	for _, p := range v.Problems {
		texts = append(texts, p.String())
	}
	return texts
}

func TestWhoIsEnrolled(t *testing.T) {
	remembered := map[string]Remembered{"app": {"old": enabled()}}
	tests := map[string]struct {
		in   Input
		want string // by what, or "no"
	}{
		"nobody says anything":                  {input(nil), "no"},
		"the volume says so":                    {input(enabled()), "label of the volume"},
		"the volume says no":                    {input(labels{"backupd.enable": "false"}), "no"},
		"a container says so":                   {input(nil, container("web", enabled())), "label of container web"},
		"containers agree":                      {input(nil, container("web", enabled()), container("db", enabled())), "label of container db"},
		"the volume overrules its container":    {input(labels{"backupd.enable": "0"}, container("web", enabled())), "no"},
		"another spelling of true":              {input(labels{"backupd.enable": " True "}), "label of the volume"},
		"a container that mounts another":       {input(nil, engine.Container{Name: "web", Labels: enabled(), Mounts: []engine.Mount{{Volume: "app2"}}}), "no"},
		"a stopped container counts":            {input(nil, engine.Container{Name: "web", Labels: enabled(), State: engine.Exited, Mounts: []engine.Mount{{Volume: "app", ReadOnly: true}}}), "label of container web"},
		"a container is gone":                   {with(input(nil), func(in *Input) { in.Remembered = remembered }), "label of container old (gone)"},
		"a living one says no after one gone":   {with(input(nil, container("web", labels{"backupd.enable": "false"})), func(in *Input) { in.Remembered = remembered }), "no"},
		"a living one of that name says no":     {with(input(nil, container("old", labels{"backupd.enable": "false"})), func(in *Input) { in.Remembered = remembered }), "no"},
		"a living one of that name is silent":   {with(input(nil, container("old", nil)), func(in *Input) { in.Remembered = remembered }), "no"},
		"a living one of another name is mute":  {with(input(nil, container("web", nil)), func(in *Input) { in.Remembered = remembered }), "label of container old (gone)"},
		"the overrides file says so":            {with(input(nil), func(in *Input) { in.Overrides = Overrides{"app": enabled()} }), "overrides file"},
		"the overrides file says no":            {with(input(enabled()), func(in *Input) { in.Overrides = Overrides{"app": {"backupd.enable": "false"}} }), "no"},
		"the overrides file means another":      {with(input(nil), func(in *Input) { in.Overrides = Overrides{"db": enabled()} }), "no"},
		"all are, with the dir source":          {with(input(nil), func(in *Input) { in.All = true }), "dir source"},
		"the overrides file takes out a folder": {with(input(nil), func(in *Input) { in.All, in.Overrides = true, Overrides{"app": {"backupd.enable": "false"}} }), "no"},
		"backupd's own passing volume":          {input(labels{"backupd.scratch": "probe"}), "no"},
		"a label for another of its volumes":    {input(nil, container("web", labels{"backupd.schedule": "@hourly"})), "no"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := "no"
			for _, v := range Resolve(tt.in) {
				got = v.Enrolled.String()
				if len(v.Problems) > 0 || v.Refused {
					t.Errorf("problems: %q, refused: %v", problems(v), v.Refused)
				}
			}
			if got != tt.want {
				t.Errorf("enrolled by: %s, want %s", got, tt.want)
			}
		})
	}
}

func with(in Input, change func(*Input)) Input {
	change(&in)
	return in
}

func TestTheStrongestLayerWins(t *testing.T) {
	given := func(schedule string) labels { return enabled(keySchedule, schedule) }
	overrides := Overrides{"app": {keySchedule: "@yearly"}}
	remembered := map[string]Remembered{"app": {"old": given("@hourly")}}
	tests := map[string]struct {
		in   Input
		want string
	}{
		"default":                 {input(enabled()), "@daily (default)"},
		"container that is gone":  {with(input(enabled()), func(in *Input) { in.Remembered = remembered }), "@hourly (label of container old (gone))"},
		"container":               {with(input(enabled(), container("web", given("@weekly"))), func(in *Input) { in.Remembered = remembered }), "@weekly (label of container web)"},
		"volume":                  {input(given("@monthly"), container("web", given("@weekly"))), "@monthly (label of the volume)"},
		"overrides file":          {with(input(given("@monthly"), container("web", given("@weekly"))), func(in *Input) { in.Overrides = overrides }), "@yearly (overrides file)"},
		"overrides a bad label":   {with(input(given("never")), func(in *Input) { in.Overrides = overrides }), "@yearly (overrides file)"},
		"volume ends a quarrel":   {input(given("@monthly"), container("web", given("@weekly")), container("db", given("@hourly"))), "@monthly (label of the volume)"},
		"containers that agree":   {input(nil, container("web", given("@weekly")), container("db", given(" @weekly"))), "@weekly (label of container db)"},
		"a name fit for no table": {input(nil, container("a\nb", given("@weekly"))), `@weekly (label of container "a\nb")`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Resolve(tt.in)
			if len(got) != 1 || text(got[0], keySchedule) != tt.want || len(got[0].Problems) > 0 {
				t.Errorf("resolved to %+v, want the schedule %s and no problem", got, tt.want)
			}
		})
	}
}

func TestGoodLabels(t *testing.T) {
	tests := map[string]struct{ key, value, want string }{
		"retention":              {keyRetention, "daily=2", "daily=2 (label of the volume)"},
		"quiesce":                {keyQuiesce, "stop", "stop (label of the volume)"},
		"limit":                  {keyLimit, "90s", "1m30s (label of the volume)"},
		"one target":             {keyTargets, "offsite", "offsite (label of the volume)"},
		"targets, one twice":     {keyTargets, "offsite, local,offsite,", "offsite local (label of the volume)"},
		"exclude":                {keyExclude, "cache/**, *.{tmp,bak}\nlog", "cache/** *.{tmp,bak} log (label of the volume)"},
		"group":                  {keyGroup, "shop", "shop (label of the volume)"},
		"schedule that spreads":  {keySchedule, "H 3 * * *", "H 3 * * * (label of the volume)"},
		"drill":                  {keyDrill, "@weekly", "@weekly (label of the volume)"},
		"drill that never is":    {keyDrill, "never", " (label of the volume)"},
		"drill with a line":      {keyDrillExec, "psql -c 'select 1'", "sh|-c|psql -c 'select 1' (label of the volume)"},
		"drill with a program":   {keyDrillExec, `["psql", "-c", "select 1"]`, "psql|-c|select 1 (label of the volume)"},
		"drill with variables":   {keyDrillEnv, "/etc/backupd//app.env", "/etc/backupd/app.env (label of the volume)"},
		"a value between spaces": {keyQuiesce, "  none\n", "none (label of the volume)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v := Resolve(input(enabled(tt.key, tt.value)))[0]
			if got := text(v, tt.key); got != tt.want || len(v.Problems) > 0 || v.Refused {
				t.Errorf("%s is %s, problems %q; want %s and no problem", tt.key, got, problems(v), tt.want)
			}
		})
	}
}

func TestNothingIsDrilledWithTheDirSource(t *testing.T) {
	in := input(nil)
	in.All, in.Defaults.Drill = true, Setting[schedule.Spec]{}
	in.Overrides = Overrides{"app": {keyDrill: "@daily"}}
	v := Resolve(in)[0]
	if v.Drill.Value.String() != "" || !strings.Contains(strings.Join(problems(v), "\n"), "the dir source can start nothing") {
		t.Errorf("drilled %q, problems %q", v.Drill.Value, problems(v))
	}
}

func TestBadLabels(t *testing.T) {
	tests := map[string]struct {
		key, value string
		want       string   // what counts instead
		problem    []string // parts of the one problem
		refused    bool
	}{
		"enable":               {keyEnable, "maybe", "label of the volume", []string{`"maybe"`, "neither true nor false", "is backed up"}, false},
		"enable that is empty": {keyEnable, "", "label of the volume", []string{"it is empty", "is backed up"}, false},
		"schedule":             {keySchedule, "every day", "@daily (default)", []string{"every day", "the setting for all volumes is used"}, false},
		"schedule, empty":      {keySchedule, " ", "@daily (default)", []string{"it is empty"}, false},
		"retention":            {keyRetention, "dayly=3", "all (in place of a bad label)", []string{"dayly", "nothing is pruned"}, false},
		"retention, empty":     {keyRetention, "", "all (in place of a bad label)", []string{"it is empty", "nothing is pruned"}, false},
		"quiesce":              {keyQuiesce, "freeze", "pause (default)", []string{`"freeze"`, "pause, stop or none"}, false},
		"limit without unit":   {keyLimit, "5", "5m0s (default)", []string{`"5"`, "90s, 5m or 1h30m"}, false},
		"limit of nothing":     {keyLimit, "0s", "5m0s (default)", []string{`"0s"`}, false},
		"limit below nothing":  {keyLimit, "-5m", "5m0s (default)", []string{`"-5m"`}, false},
		"limit without end":    {keyLimit, "9999h", "5m0s (default)", []string{`"9999h"`, "at most 24h"}, false},
		"exclude":              {keyExclude, "cache,[", " (in place of a bad label)", []string{"[", "nothing is excluded"}, false},
		"exclude, outside":     {keyExclude, "../other", " (in place of a bad label)", []string{"nothing is excluded"}, false},
		"exclude, only commas": {keyExclude, ",,", " (in place of a bad label)", []string{"names no pattern"}, false},
		"drill":                {keyDrill, "sometimes", "@monthly (environment)", []string{"sometimes", "the setting for all volumes is used"}, false},
		"drill without a word": {keyDrillExec, `["`, " (in place of a bad label)", []string{"JSON", "no command of yours"}, false},
		"drill with no path":   {keyDrillEnv, "app.env", " (in place of a bad label)", []string{`"app.env"`, "absolute", "no file of variables"}, false},
		"group":                {keyGroup, "a\x1bb", " (in place of a bad label)", []string{`"a\x1bb"`, "in no group"}, false},
		"a target of two":      {keyTargets, "nas,local", "local (label of the volume)", []string{`no target "nas", only local, offsite`, "left out"}, false},
		"too long":             {keyGroup, strings.Repeat("x", maxLabel+1), " (in place of a bad label)", []string{"4097 bytes"}, false},
		"not in UTF-8":         {keySchedule, "\xff\xfe", "@daily (default)", []string{`\xff\xfe`}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v := Resolve(input(enabled(tt.key, tt.value)))[0]
			if got := text(v, tt.key); got != tt.want || v.Refused != tt.refused {
				t.Errorf("%s is %s, refused: %v; want %s, refused: %v", tt.key, got, v.Refused, tt.want, tt.refused)
			}
			wantProblem(t, v, tt.key+" (label of the volume): ", tt.problem...)
		})
	}
}

// wantProblem wants the volume to have one problem, that begins so and holds all the parts.
func wantProblem(t *testing.T, v Volume, start string, parts ...string) {
	t.Helper()
	got := problems(v)
	if len(got) != 1 || !strings.HasPrefix(got[0], start) {
		t.Fatalf("problems are %q, want one that begins with %q", got, start)
	}
	for _, part := range parts {
		if !strings.Contains(got[0], part) {
			t.Errorf("problem is %q, want %q in it", got[0], part)
		}
	}
}

func TestVolumesThatAreRefused(t *testing.T) {
	hook := container("web", labels{"backupd.hook.pre": `["pg_dump",`, "backupd.hook.timeout": "never", "backupd.hook.befroe": "x", "backupd.hook.post": ""})
	tests := map[string]struct {
		in   Input
		want []string
	}{
		"none of its targets is set up": {input(enabled(keyTargets, "nas")), []string{
			`backupd.targets (label of the volume): there is no target "nas", only local, offsite; it is left out`,
			"backupd.targets (label of the volume): no target is left; the volume is not backed up",
		}},
		"its label for targets is empty": {input(enabled(keyTargets, "")), []string{
			"backupd.targets (label of the volume): it is empty; the volume is not backed up",
		}},
		"containers name different targets": {
			input(enabled(), container("web", labels{keyTargets: "local"}), container("db", labels{keyTargets: "offsite"})), []string{
				`backupd.targets (labels of its containers): they contradict each other: "offsite" for the label of container db, ` +
					`"local" for the label of container web; the volume is not backed up`,
			},
		},
		"hooks would not run": {input(enabled(), hook), []string{
			"backupd.hook.befroe (label of container web): there is no such hook, only backupd.hook.pre, backupd.hook.during, backupd.hook.post, " +
				"backupd.hook.timeout; the volume is not backed up",
			"backupd.hook.post (label of container web): it is empty; the volume is not backed up",
			"backupd.hook.pre (label of container web): it begins like a JSON array and is none (unexpected end of JSON input): " +
				`write ["program", "argument"], or a line for sh; the volume is not backed up`,
			`backupd.hook.timeout (label of container web): "never" is no time that a command can be given: write one such as 30s, 5m or 1h, ` +
				"at most 24h0m0s; the volume is not backed up",
		}},
		"a hook in the wrong place": {input(enabled("backupd.hook.post", "x")), []string{
			"backupd.hook.post (label of the volume): hooks run in a container, which has to have the label itself; the volume is not backed up",
		}},
		"labels that nothing enables": {input(labels{keySchedule: "@hourly"}), []string{
			"backupd.enable: it has labels for backupd, but none that says backupd.enable=true; the volume is not backed up",
		}},
		"a misspelt label of the volume": {input(labels{"backupd.enabled": "true"}), []string{
			"backupd.enable: it has labels for backupd, but none that says backupd.enable=true; the volume is not backed up",
			"backupd.enabled (label of the volume): unknown label: did you mean backupd.enable?",
		}},
		"a misspelt label of a container": {input(nil, container("web", labels{"Backupd.Enable": "true"})), []string{
			"backupd.enable: it has labels for backupd, but none that says backupd.enable=true; the volume is not backed up",
			"Backupd.Enable (label of container web): unknown label: did you mean backupd.enable?",
		}},
		"a section of the overrides that nothing enables": {
			with(input(nil), func(in *Input) { in.Overrides = Overrides{"app": {keySchedule: "@hourly"}} }), []string{
				"backupd.enable: it has labels for backupd, but none that says backupd.enable=true; the volume is not backed up",
			},
		},
		"a name too long for a target": {
			with(input(nil), func(in *Input) { in.Volumes[0] = engine.Volume{Name: strings.Repeat("ü", 43), Labels: enabled()} }), []string{
				"its name takes 258 bytes on a target, percent-encoded, and 1 to 255 are possible; the volume is not backed up",
			},
		},
		"no name": {
			with(input(nil), func(in *Input) { in.Volumes[0] = engine.Volume{Labels: enabled()} }), []string{
				"its name takes 0 bytes on a target, percent-encoded, and 1 to 255 are possible; the volume is not backed up",
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Resolve(tt.in)
			if len(got) != 1 || !got[0].Refused {
				t.Fatalf("resolved to %+v, want one volume that is refused", got)
			}
			if diff := cmp.Diff(tt.want, problems(got[0])); diff != "" {
				t.Error("problems (-want +got):\n" + diff)
			}
		})
	}
}

func TestContainersThatContradictEachOther(t *testing.T) {
	tests := map[string]struct{ key, one, other, want string }{
		"enable":    {keyEnable, "true", "false", "labels of its containers"},
		"schedule":  {keySchedule, "@hourly", "@weekly", "@daily (default)"},
		"retention": {keyRetention, "last=1", "last=2", "all (in place of a bad label)"},
		"quiesce":   {keyQuiesce, "none", "stop", "pause (default)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := input(nil, container("web", enabled(tt.key, tt.one)), container("db", enabled(tt.key, tt.other)))
			v := Resolve(in)[0]
			if got := text(v, tt.key); got != tt.want || v.Refused {
				t.Errorf("%s is %s, refused: %v; want %s", tt.key, got, v.Refused, tt.want)
			}
			wantProblem(t, v, tt.key, `"`+tt.other+`" for the label of container db, "`+tt.one+`" for the label of container web`)
		})
	}
}

func TestUnknownLabelsAreNamed(t *testing.T) {
	own := enabled("backupd.shedule", "@hourly", "backupd.quiesce.limits", "1m", "backupd.zzzzzz", "1", "backupd.", "", "backup.enable", "x")
	got := problems(Resolve(input(own))[0])
	want := []string{
		"backupd. (label of the volume): unknown label",
		"backupd.quiesce.limits (label of the volume): unknown label: did you mean backupd.quiesce.limit?",
		"backupd.shedule (label of the volume): unknown label: did you mean backupd.schedule?",
		"backupd.zzzzzz (label of the volume): unknown label",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("problems (-want +got):\n" + diff)
	}
}

func TestUnknownLabelsWithoutEndAreCounted(t *testing.T) {
	own := enabled()
	for i := range 1000 {
		own["backupd.zzz"+strings.Repeat("z", i)] = "1"
	}
	got := problems(Resolve(input(own))[0])
	if len(got) != 6 || !strings.Contains(got[5], "unknown label, as are 994 more here") {
		t.Errorf("problems are %q, want five and the count of the others", got)
	}
}

func TestTheDirSourceHoldsNothing(t *testing.T) {
	in := with(input(nil), func(in *Input) {
		in.All, in.Defaults.Quiesce.Value = true, quiesce.None
		in.Overrides = Overrides{"app": {keyQuiesce: "pause"}}
	})
	v := Resolve(in)[0]
	wantProblem(t, v, "backupd.quiesce (overrides file): ", "can hold nothing")
	if v.Quiesce.Value != quiesce.None {
		t.Errorf("mode is %s, want none", v.Quiesce.Value)
	}
}

func TestVolumesOfAGroupShouldBeAlike(t *testing.T) {
	in := input(nil)
	in.Volumes = []engine.Volume{
		{Name: "a", Labels: enabled(keyGroup, "shop")},
		{Name: "b", Labels: enabled(keyGroup, "shop", keyQuiesce, "stop", keySchedule, "@hourly")},
		{Name: "c", Labels: enabled(keyGroup, "bank", keyQuiesce, "stop", keySchedule, "@hourly")},
	}
	want := []string{
		`backupd.quiesce: volumes of group "shop" differ: "a" has "pause" and "b" has "stop"; the strictest one counts for all when they are backed up together`,
		`backupd.schedule: volumes of group "shop" differ: "a" has "@daily" and "b" has "@hourly"; they share a moment only when they are due together`,
	}
	got := Resolve(in)
	for i, want := range [][]string{want, want, nil} {
		if diff := cmp.Diff(want, problems(got[i])); diff != "" {
			t.Errorf("problems of %s (-want +got):\n%s", got[i].Name, diff)
		}
	}
}

func TestVolumesAreInTheOrderOfTheirNames(t *testing.T) {
	in := input(nil)
	in.Volumes = []engine.Volume{{Name: "b", Labels: enabled()}, {Name: "c"}, {Name: "a", Labels: enabled()}}
	var got []string
	for _, v := range Resolve(in) {
		got = append(got, v.Name)
	}
	if !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("volumes are %v, want a and b", got)
	}
}
