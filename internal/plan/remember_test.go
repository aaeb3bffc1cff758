package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/engine"
)

func TestWhatIsRemembered(t *testing.T) {
	old := map[string]Remembered{"app": {"old": enabled(keySchedule, "@hourly")}}
	tests := map[string]struct {
		in   Input
		want map[string]Remembered
	}{
		"labels of a container":          {input(nil, container("web", enabled(keyGroup, "shop", "other", "x"))), map[string]Remembered{"app": {"web": enabled(keyGroup, "shop")}}},
		"settings, too":                  {input(enabled(), container("web", labels{keyRetention: "all"})), map[string]Remembered{"app": {"web": {keyRetention: "all"}}}},
		"nothing that nobody said":       {input(enabled(), container("web", nil)), map[string]Remembered{}},
		"nothing of who is not enrolled": {input(nil, container("web", labels{keyRetention: "all"})), map[string]Remembered{}},
		"a container that is gone":       {with(input(nil), func(in *Input) { in.Remembered = old }), old},
		"not beside one that speaks":     {with(input(nil, container("web", enabled())), func(in *Input) { in.Remembered = old }), map[string]Remembered{"app": {"web": enabled()}}},
		"beside one that is mute":        {with(input(nil, container("web", labels{keyGroup: "shop"})), func(in *Input) { in.Remembered = old }), map[string]Remembered{"app": {"web": {keyGroup: "shop"}, "old": old["app"]["old"]}}},
		"not beside its successor":       {with(input(enabled(), container("old", nil)), func(in *Input) { in.Remembered = old }), map[string]Remembered{}},
		"not when a label says false":    {with(input(labels{keyEnable: "false"}), func(in *Input) { in.Remembered = old }), map[string]Remembered{}},
		"not when the volume is gone":    {with(input(nil), func(in *Input) { in.Remembered, in.Volumes = old, nil }), map[string]Remembered{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Remember(tt.in, Resolve(tt.in))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Fatal("(-want +got):\n" + diff)
			}
			tt.in.Remembered = got
			if diff := cmp.Diff(got, Remember(tt.in, Resolve(tt.in))); diff != "" {
				t.Error("the second time (-first +second):\n" + diff)
			}
		})
	}
}

func TestRemovingAContainerChangesNothing(t *testing.T) {
	given := enabled(keyTargets, strings.Repeat("x", 2*maxLabel), keyRetention, "daily=2", keySchedule, "never")
	in := input(nil, container("web", given))
	before := Resolve(in)
	in.Remembered = Remember(in, before)
	in.Containers = nil
	after := Resolve(in)

	if len(after) != 1 || !after[0].Refused || after[0].Enrolled != "label of container web (gone)" {
		t.Fatalf("resolved to %+v, want it enrolled and refused as before", after)
	}
	for _, key := range settingKeys() {
		gone := strings.Replace(text(before[0], key), "container web", "container web (gone)", 1)
		if got := text(after[0], key); got != gone {
			t.Errorf("%s is %s, want %s", key, got, gone)
		}
	}
	for _, labels := range in.Remembered["app"] {
		if got := len(labels[keyTargets]); got > maxLabel+1 {
			t.Errorf("%d bytes are remembered of one label", got)
		}
	}
}

func TestAContainerWithoutANameIsNotRemembered(t *testing.T) {
	in := input(nil, engine.Container{ID: "1", Labels: enabled(), Mounts: []engine.Mount{{Volume: "app"}}})
	if got := Remember(in, Resolve(in)); len(got) > 0 {
		t.Errorf("remembered: %v", got)
	}
}
