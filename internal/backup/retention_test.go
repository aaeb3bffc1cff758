package backup_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/memory"
)

func TestRetentionIsAppliedToEachTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause) // where one snapshot is kept
		w.target("far", refusing)
		w.backup(t.Context())
		w.target("far", func(s *memory.Store) targets.Store { return s })
		for _, r := range w.backup(t.Context()) {
			got := map[string]int{}
			for _, o := range r.Targets {
				got[o.Target] = len(o.Pruned.Removed)
			}
			if diff := cmp.Diff(map[string]int{"near": 1, "far": 0}, got); diff != "" || r.Failure() != nil {
				t.Errorf("volume %s: removed (-want +got):\n%s%v", r.Volume, diff, r.Failure())
			}
		}
		for place, snapshots := range w.snapshots(t) {
			if len(snapshots) != 1 {
				t.Errorf("%s has %d snapshots, want 1", place, len(snapshots))
			}
		}
	})
}

func TestWhatATargetKeepsIsToldAndNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause) // where one snapshot is kept
		w.target("far", func(s *memory.Store) targets.Store { return locking{s} })
		w.backup(t.Context())
		for _, r := range w.backup(t.Context()) {
			for _, o := range r.Targets {
				if want := map[string]int{"near": 0, "far": 1}[o.Target]; len(o.Pruned.Kept) != want || len(o.Pruned.Removed) == want {
					t.Errorf("volume %s on %s: %+v, want %d kept", r.Volume, o.Target, o.Pruned, want)
				}
			}
			if r.Failure() != nil {
				t.Error(r.Failure())
			}
		}
		w.checkSnapshotsOpen(t, "with all that is locked")
	})
}

// TestNothingIsRemovedWhereThatWouldBeAGamble has a first run, something that comes to be wrong with what it stored, and a second run.
func TestNothingIsRemovedWhereThatWouldBeAGamble(t *testing.T) {
	alter := func(change func(manifest string) string) func(*world, snapshot.Ref) {
		return func(w *world, ref snapshot.Ref) {
			w.stores["near"].Alter(ref.Key(snapshot.ManifestKind), func(data []byte) []byte { return []byte(change(string(data))) })
		}
	}
	tests := map[string]struct {
		spoil func(w *world, first snapshot.Ref)
		want  string
	}{
		"a manifest that cannot be read": {
			spoil: alter(func(string) string { return "{" }),
			want:  "read manifest",
		},
		"a manifest of a newer backupd": {
			spoil: alter(func(m string) string { return strings.Replace(m, `"format": 1`, `"format": 99`, 1) }),
			want:  "use a newer backupd",
		},
		"another owner": {
			spoil: alter(func(m string) string { return strings.Replace(m, `"owner": "owner"`, `"owner": "stranger"`, 1) }),
			want:  `owner "stranger"`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, quiesce.Pause)
				for i := range w.volumes {
					w.volumes[i].Targets.Value = []string{"near"}
				}
				for _, r := range w.backup(t.Context()) {
					test.spoil(w, r.Manifest.Ref())
				}
				for _, r := range w.backup(t.Context()) {
					err := r.Failure()
					if !r.Stored() || err == nil || !strings.Contains(err.Error(), "prune: nothing of volume") || !strings.Contains(err.Error(), test.want) {
						t.Errorf("volume %s: stored %v, %v; want it stored, and %q", r.Volume, r.Stored(), err, test.want)
					}
				}
				objects := map[string]int{}
				for o, err := range w.stores["near"].List(t.Context(), "") {
					if err != nil {
						t.Fatal(err)
					}
					objects[strings.Split(o.Key, "/")[1]]++
				}
				if diff := cmp.Diff(map[string]int{"data": 4, "logs": 4}, objects); diff != "" {
					t.Error("objects (-want +got):\n" + diff)
				}
			})
		})
	}
}

// TestAYearOfRuns backs one volume up at odd times, to targets that are down now and then, and compares what is on them with what the
// policy says of what came there.
func TestAYearOfRuns(t *testing.T) {
	for _, policy := range []string{"last=1", "last=2 daily=3 weekly=2", "hourly=5 monthly=3", "within=20d", "all"} {
		t.Run(policy, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { aYear(t, policy) })
		})
	}
}

func aYear(t *testing.T, policy string) {
	const runs = 50
	random := rand.New(rand.NewPCG(1, 2))
	w := newWorld(t, quiesce.Pause)
	w.volumes = w.volumes[:1]
	keep, err := retention.Parse(policy)
	if err != nil {
		t.Fatal(err)
	}
	w.volumes[0].Retention.Value = keep
	there := map[string][]retention.Snapshot{}
	for range runs {
		time.Sleep(time.Duration(random.IntN(15*24*60)) * time.Minute)
		down := random.IntN(4)
		for i, name := range []string{"near", "far"} {
			w.target(name, func(s *memory.Store) targets.Store {
				if down == i {
					return refusing(s)
				}
				return s
			})
		}
		r := w.backup(t.Context())[0]
		for _, o := range r.Targets {
			if o.Err != nil {
				continue
			}
			if o.Prune != nil {
				t.Fatal(o.Prune)
			}
			all := append(there[o.Target], retention.Snapshot{ID: r.Manifest.ID, Taken: r.Manifest.Taken, Good: true})
			there[o.Target] = nil
			for _, v := range retention.Decide(keep, all, time.Now(), time.UTC) {
				if v.Keep {
					there[o.Target] = append([]retention.Snapshot{v.Snapshot}, there[o.Target]...)
				}
			}
		}
		want, got := map[string][]snapshot.ID{}, map[string][]snapshot.ID{}
		for name, snapshots := range there {
			for _, s := range snapshots {
				want[name+"/data"] = append(want[name+"/data"], s.ID)
			}
		}
		for place, snapshots := range w.snapshots(t) {
			for _, s := range snapshots {
				got[place] = append(got[place], s.ID)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal("snapshots (-want +got):\n" + diff)
		}
	}
	w.checkSnapshotsOpen(t, fmt.Sprintf("after %d runs", runs))
}
