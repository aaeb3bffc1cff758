package project_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/project"
	"github.com/backupd/backupd/internal/snapshot"
)

func TestWhichProjectAVolumeIsOf(t *testing.T) {
	of := func(projects ...string) (all []snapshot.Container) {
		for _, p := range projects {
			all = append(all, snapshot.Container{Name: "c", Project: p})
		}
		return all
	}
	for name, c := range map[string]struct {
		facts snapshot.Restore
		want  []string
	}{
		"of none":             {facts: snapshot.Restore{Labels: map[string]string{"tier": "one"}, Containers: of("")}},
		"compose made it":     {facts: snapshot.Restore{Labels: map[string]string{"com.docker.compose.project": "shop"}}, want: []string{"shop"}},
		"compose only uses":   {facts: snapshot.Restore{Containers: of("", "shop", "shop")}, want: []string{"shop"}},
		"two projects use it": {facts: snapshot.Restore{Labels: map[string]string{"com.docker.compose.project": "shop"}, Containers: of("blog")}, want: []string{"blog", "shop"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, project.Of(c.facts)); diff != "" && len(c.want)+len(project.Of(c.facts)) > 0 {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// has is moments of volumes: hours after some time.
type has map[string][]float64

var origin = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func hours(h float64) time.Time { return origin.Add(time.Duration(h * float64(time.Hour))) }

func (h has) volumes() (all []project.Volume) {
	for name, moments := range h {
		v := project.Volume{Name: name}
		for _, m := range moments {
			v.Moments = append(v.Moments, hours(m))
		}
		all = append(all, v)
	}
	return all
}

func TestMomentsThatVolumesGoBackTo(t *testing.T) {
	const day, week = 24.0, 7 * 24.0
	for name, c := range map[string]struct {
		has  has
		want map[string]float64
	}{
		"nothing":    {},
		"one volume": {has{"pg": {3, 1, 2}}, map[string]float64{"pg": 3}},
		"held together": {
			has{"pg": {1, 2, 3}, "files": {1, 2, 3}},
			map[string]float64{"pg": 3, "files": 3},
		},
		"the last one failed for one of them": {
			has{"pg": {1, 2, 3}, "files": {1, 2}},
			map[string]float64{"pg": 2, "files": 2},
		},
		"each failed once": {
			has{"pg": {1, 3}, "files": {1, 2}},
			map[string]float64{"pg": 1, "files": 1},
		},
		"each was backed up by hand since": {
			has{"pg": {1, 2, 3.5}, "files": {1, 2, 3.6}},
			map[string]float64{"pg": 2, "files": 2},
		},
		"held together once, and no more": {
			has{"pg": {1, 3 * week, 4 * week}, "files": {1, 3*week + 1, 4*week + 1}},
			map[string]float64{"pg": 4 * week, "files": 4*week + 1},
		},
		"never held together": {
			has{"pg": {day + 3, 2*day + 3}, "files": {day + 2, 2*day + 2}},
			map[string]float64{"pg": 2*day + 3, "files": 2*day + 2},
		},
		"one has newer ones, which the others do not reach": {
			has{"pg": {3, 4, 5, 6, 7}, "files": {4.1}},
			map[string]float64{"pg": 4, "files": 4.1},
		},
		"some held together, beside one that is not": {
			has{"pg": {3, day + 3}, "files": {3, day + 3}, "cache": {2, day + 2}},
			map[string]float64{"pg": day + 3, "files": day + 3, "cache": day + 2},
		},
		"held with one of two others at a time": {
			has{"pg": {1.9, 2.2}, "files": {2.2}, "cache": {1.9}},
			map[string]float64{"pg": 1.9, "files": 2.2, "cache": 1.9},
		},
		"two groups": {
			has{"a1": {1, 3}, "a2": {1, 3}, "b1": {1.5, 2.5}, "b2": {1.5, 2.5}},
			map[string]float64{"a1": 3, "a2": 3, "b1": 2.5, "b2": 2.5},
		},
		"equally near": {
			has{"pg": {1, 3}, "files": {2}},
			map[string]float64{"pg": 3, "files": 2},
		},
		"one that nobody backs up any more": {
			has{"pg": {1, 5 * week, 5*week + 1}, "old": {1}, "files": {5 * week}},
			map[string]float64{"pg": 5 * week, "old": 1, "files": 5 * week},
		},
		"all of it is old": {
			has{"pg": {1}, "files": {1, 2}},
			map[string]float64{"pg": 1, "files": 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := project.Choose(c.has.volumes())
			want := map[string]time.Time{}
			for name, at := range c.want {
				want[name] = hours(at)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("moments (-want +got):\n%s", diff)
			}
		})
	}
}

// Whoever asks for what is chosen gets it: a restore that was cut off goes on with the same moments.
func TestWhatIsChosenIsChosenAgain(t *testing.T) {
	volumes := has{"pg": {1, 2, 3, 4}, "files": {1, 3}, "cache": {2.5, 2.9}}.volumes()
	first := project.Choose(volumes)
	last := slices.MaxFunc(slices.Collect(maps.Values(first)), time.Time.Compare)
	for i := range volumes {
		volumes[i].Moments = slices.DeleteFunc(volumes[i].Moments, last.Before)
	}
	if diff := cmp.Diff(first, project.Choose(volumes)); diff != "" {
		t.Errorf("(-first +again):\n%s", diff)
	}
}
