package plan

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/schedule"
)

func anyOf(words ...string) *rapid.Generator[string] {
	return rapid.OneOf(rapid.SampledFrom(words), rapid.StringN(0, 20, 100), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(b []byte) string { return string(b) }))
}

func anyLabels() *rapid.Generator[labels] {
	keys := append(settingKeys(), quiesce.HookPre, "backupd.enabled", "Backupd.enable", "backupd.", "unrelated")
	values := []string{"true", "false", "", "all", "stop", "none", "@daily", "H * * * *", "5m", "local", "nas", "a,b", "{", "**", "shop", "last=1"}
	return rapid.MapOfN(rapid.OneOf(rapid.SampledFrom(keys), rapid.StringN(0, 10, 50)), anyOf(values...), 0, 6)
}

// anyInput has volumes and containers that share names, so that they meet.
func anyInput(t *rapid.T) Input {
	names := []string{"a", "b", "c", "d"}
	in := input(nil)
	in.Volumes, in.All = nil, rapid.Bool().Draw(t, "all")
	in.Overrides, in.Remembered = Overrides{}, map[string]Remembered{}
	for _, name := range names {
		in.Volumes = append(in.Volumes, engine.Volume{Name: name, Labels: anyLabels().Draw(t, "labels of volume "+name)})
		if rapid.Bool().Draw(t, "remembers "+name) {
			in.Remembered[name] = rapid.MapOfN(rapid.SampledFrom(names), anyLabels(), 0, 2).Draw(t, "remembered of "+name)
		}
		if rapid.Bool().Draw(t, "overrides "+name) {
			in.Overrides[name] = anyLabels().Draw(t, "overrides of "+name)
		}
	}
	states := []engine.State{engine.Running, engine.Paused, engine.Exited}
	anyName := rapid.OneOf(rapid.SampledFrom(names), anyOf("app", ""))
	for i, name := range rapid.SliceOfNDistinct(anyName, 0, 4, rapid.ID[string]).Draw(t, "containers") {
		c := engine.Container{
			ID: string(rune('0' + i)), Name: name,
			Labels: anyLabels().Draw(t, "labels"), State: rapid.SampledFrom(states).Draw(t, "state"),
		}
		for _, v := range rapid.SliceOfN(rapid.SampledFrom(names), 0, 3).Draw(t, "mounts") {
			c.Mounts = append(c.Mounts, engine.Mount{Volume: v, ReadOnly: rapid.Bool().Draw(t, "read-only")})
		}
		in.Containers = append(in.Containers, c)
	}
	return in
}

// spoken is the slow and obvious answer to what says whether a volume is enrolled: yes unless the strongest that says anything says
// false with one voice.
func spoken(in Input, v engine.Volume) (enrolled bool) {
	var living []labels
	speaks, names := false, map[string]bool{}
	for _, c := range in.Containers {
		if mounts, _ := c.Mounting(v); mounts {
			living = append(living, c.Labels)
			_, enable := c.Labels[keyEnable]
			speaks, names[c.Name] = speaks || enable, true
		}
	}
	var gone []labels
	for name, l := range in.Remembered[v.Name] {
		if !speaks && !names[name] {
			gone = append(gone, l)
		}
	}
	for _, layer := range [][]labels{{in.Overrides[v.Name]}, {v.Labels}, living, gone} {
		said := map[string]bool{}
		for _, l := range layer {
			if value, ok := l[keyEnable]; ok {
				said[strings.TrimSpace(value)] = true
			}
		}
		for value := range said {
			enable, err := parseEnable(value)
			return enable || err != nil || len(said) > 1
		}
	}
	return in.All
}

func TestNoEnrolledVolumeIsEverLeftOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := anyInput(t)
		resolved := Resolve(in)
		for _, v := range in.Volumes {
			i := slices.IndexFunc(resolved, func(r Volume) bool { return r.Name == v.Name })
			if spoken(in, v) && (i < 0 || resolved[i].Enrolled == "") {
				t.Errorf("volume %s is left out", v.Name)
			}
		}
		for _, v := range resolved {
			whole := v.Schedule.Value.String() != "" && v.Quiesce.Value != "" && v.Limit.Value > 0 && v.Retention.Value.String() != ""
			if !whole || !v.Refused && len(v.Targets.Value) == 0 {
				t.Errorf("volume %s has no value for a setting: %+v", v.Name, v.Settings)
			}
			if v.Refused && len(v.Problems) == 0 {
				t.Errorf("volume %s is refused, and nobody is told why", v.Name)
			}
			for _, p := range v.Problems {
				if !printable(p.String()) {
					t.Errorf("problem %q is not fit for a terminal", p.String())
				}
			}
		}
		if diff := cmp.Diff(resolved, Resolve(in), cmp.Comparer(func(a, b schedule.Spec) bool { return a.String() == b.String() })); diff != "" {
			t.Errorf("the same input gave something else: %s", diff)
		}
	})
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func TestWhatIsRememberedKeepsVolumesEnrolled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := anyInput(t)
		before := Resolve(in)
		in.Remembered, in.Containers = Remember(in, before), nil
		after := Resolve(in)
		for _, v := range before {
			named := !slices.ContainsFunc(v.Containers, func(c engine.Container) bool { return c.Name == "" })
			if v.Enrolled != "" && named && !slices.ContainsFunc(after, func(a Volume) bool { return a.Name == v.Name && a.Enrolled != "" }) {
				t.Errorf("volume %s, enrolled by the %s, is forgotten when all containers are gone", v.Name, v.Enrolled)
			}
		}
	})
}

func TestJobsPartitionWhatIsDue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := Resolve(anyInput(t))
		var names []string
		holder := map[string]int{}
		for i, job := range Jobs(all) {
			for _, v := range job.Volumes {
				names = append(names, v.Name)
				if v.Quiesce.Value == quiesce.None {
					continue
				}
				for _, id := range v.held() {
					if other, ok := holder[id]; ok && other != i {
						t.Errorf("container %s is held by two jobs", id)
					}
					holder[id] = i
				}
			}
		}
		slices.Sort(names)
		var want []string
		for _, v := range all {
			want = append(want, v.Name)
		}
		if !slices.Equal(names, want) {
			t.Errorf("jobs have volumes %q, want %q", names, want)
		}
	})
}
