package audit_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/audit"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/snapshot"
)

var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

// taken is a good snapshot, changed.
func taken(at time.Time, change ...func(*catalog.Snapshot)) catalog.Snapshot {
	s := catalog.Snapshot{Manifest: snapshot.Manifest{
		ID: snapshot.ID(at.Format("20060102T150405Z") + "-00000000"), Host: "web1", Volume: "app", Taken: at, Grade: snapshot.Frozen, Quiesce: "pause",
	}}
	for _, c := range change {
		c(&s)
	}
	return s
}

func suspect(s *catalog.Snapshot) { s.Suspect = "it is empty" }
func fuzzy(s *catalog.Snapshot)   { s.Grade = snapshot.Fuzzy }
func damaged(s *catalog.Snapshot) { s.Proof.Damaged = "a frame" }
func failedDrill(s *catalog.Snapshot) {
	s.Drills = []snapshot.Trial{{At: s.Taken, Proven: true}, {At: s.Taken.Add(time.Minute)}}
}
func proven(at time.Time) func(*catalog.Snapshot) {
	return func(s *catalog.Snapshot) {
		s.Drills = []snapshot.Trial{{At: at.Add(-time.Hour)}, {At: at, Proven: true}}
	}
}

func TestAudits(t *testing.T) {
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		listing catalog.Listing
		oldest  time.Duration
		newest  time.Time
		bad     string
		problem string
	}{
		"one of today": {
			listing: catalog.Listing{Snapshots: []catalog.Snapshot{taken(ago(2 * day)), taken(ago(time.Hour))}},
			oldest:  26 * time.Hour, newest: ago(time.Hour),
		},
		"one that is just as old as it may be": {
			listing: catalog.Listing{Snapshots: []catalog.Snapshot{taken(ago(26 * time.Hour))}},
			oldest:  26 * time.Hour, newest: ago(26 * time.Hour),
		},
		"one that is older": {
			listing: catalog.Listing{Snapshots: []catalog.Snapshot{taken(ago(26*time.Hour + time.Minute))}},
			oldest:  26 * time.Hour, newest: ago(26*time.Hour + time.Minute),
			problem: "its newest good snapshot, 20261130T095900Z-00000000, is 26h old, and may be 26h",
		},
		"old ones, of which nothing is asked": {
			listing: catalog.Listing{Snapshots: []catalog.Snapshot{taken(ago(1000 * day))}}, oldest: audit.AnyAge, newest: ago(1000 * day),
		},
		"newer ones that do not count": {
			listing: catalog.Listing{
				Snapshots: []catalog.Snapshot{
					taken(ago(3 * day)), taken(ago(5*time.Hour), suspect), taken(ago(4*time.Hour), suspect), taken(ago(3*time.Hour), fuzzy), taken(ago(2*time.Hour), damaged, suspect),
				},
				Unreadable: []catalog.Unreadable{{Ref: snapshot.Ref{Host: "web1", Volume: "app"}, Err: errors.New("{")}},
			},
			oldest: day, newest: ago(3 * day), bad: "2 suspect, 1 fuzzy, 1 damaged, 1 unreadable",
			problem: "its newest good snapshot, 20261128T120000Z-00000000, is 3d old, and may be 1d",
		},
		"one that failed its drill": {
			listing: catalog.Listing{Snapshots: []catalog.Snapshot{taken(ago(2 * day)), taken(ago(day), failedDrill)}},
			oldest:  audit.AnyAge, newest: ago(2 * day), bad: "1 with a failed drill",
		},
		"none that counts": {
			listing: catalog.Listing{Snapshots: []catalog.Snapshot{taken(ago(day), suspect)}}, bad: "1 suspect",
			problem: "it has no good snapshot (1 suspect)",
		},
		"none that can be read": {
			listing: catalog.Listing{Unreadable: []catalog.Unreadable{{Ref: snapshot.Ref{Host: "web1", Volume: "app"}, Err: errors.New("{")}}},
			bad:     "1 unreadable", problem: "it has no good snapshot (1 unreadable)",
		},
		"one of a clock that was ahead does not make an old one young": {
			listing: catalog.Listing{Snapshots: []catalog.Snapshot{taken(ago(3 * day)), taken(ago(-365 * day))}},
			oldest:  day, newest: ago(3 * day), bad: "1 dated in the future",
			problem: "its newest good snapshot, 20261128T120000Z-00000000, is 3d old, and may be 1d",
		},
		"one of a clock that is a little ahead": {
			listing: catalog.Listing{Snapshots: []catalog.Snapshot{taken(ago(-time.Minute))}},
			oldest:  day, newest: ago(-time.Minute),
		},
	} {
		t.Run(name, func(t *testing.T) {
			v, ok := audit.Of(test.listing, now)
			if !ok || v.Host != "web1" || v.Volume != "app" {
				t.Fatalf("%v, %+v", ok, v)
			}
			if !v.Newest.Taken.Equal(test.newest) {
				t.Errorf("the newest good one was taken %v, want %v", v.Newest.Taken, test.newest)
			}
			if diff := cmp.Diff([]string{test.bad, test.problem}, []string{v.Bad(), v.Problem(now, test.oldest)}); diff != "" {
				t.Error("bad, problem (-want +got):\n" + diff)
			}
		})
	}
}

func TestTheLastProofIsOfAnyGoodSnapshot(t *testing.T) {
	v, _ := audit.Of(catalog.Listing{Snapshots: []catalog.Snapshot{
		taken(ago(9*time.Hour), proven(ago(4*time.Hour))), taken(ago(8*time.Hour), proven(ago(6*time.Hour))), taken(ago(7*time.Hour), suspect, proven(ago(time.Hour))), taken(ago(time.Hour)),
	}}, now)
	if !v.Proven.Equal(ago(4 * time.Hour)) {
		t.Errorf("proven at %v, want %v", v.Proven, ago(4*time.Hour))
	}
}

func TestNothingIsNoVolume(t *testing.T) {
	if v, ok := audit.Of(catalog.Listing{Loose: []catalog.Loose{{}}}, now); ok {
		t.Errorf("%+v", v)
	}
}
