package catalog_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/seal"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets/memory"
)

// drill is of a snapshot, that many days after the first of all.
func drill(ref snapshot.Ref, day int, failed string) snapshot.Drill {
	return snapshot.Drill{
		Format: snapshot.DrillFormat, Host: ref.Host, Volume: ref.Volume, ID: ref.ID, At: day0.AddDate(0, 0, day), Failed: failed,
		RestoreMS: 1000, ReadyMS: 500, Started: []string{"db"},
		Checks: []snapshot.Check{{Of: "postgresql", Asked: "is letters/to-anna well?", Answer: "it is"}},
	}
}

func TestDrillsAreListedBesideTheirSnapshot(t *testing.T) {
	s := memory.New()
	c := catalog.New(s, nil, host)
	m := store(t, c, "app", 1, 2)
	for _, d := range []snapshot.Drill{drill(m[0].Ref(), 4, "broken"), drill(m[0].Ref(), 3, ""), drill(m[1].Ref(), 5, "")} {
		must(t, c.PutDrill(t.Context(), d))
	}
	l := list(t, c, "app")
	if len(l.Snapshots) != 2 || len(l.Loose) != 0 || l.Err() != nil {
		t.Fatalf("listed %+v", l)
	}
	failed, proven := l.Snapshots[0], l.Snapshots[1]
	if failed.Good() || !failed.DrillFailed() || !failed.Proven().At.Equal(day0.AddDate(0, 0, 3)) || !failed.Drilled().At.Equal(day0.AddDate(0, 0, 4)) {
		t.Errorf("one that failed after it was proven: %+v", failed)
	}
	if !proven.Good() || proven.DrillFailed() || proven.Proven().Recovery != 1500*time.Millisecond {
		t.Errorf("one that was proven: %+v", proven)
	}
	got, err := c.Drill(t.Context(), m[0].Ref(), failed.Drilled())
	must(t, err)
	if diff := cmp.Diff(drill(m[0].Ref(), 4, "broken"), got); diff != "" {
		t.Error(diff)
	}
	must(t, c.PutDrill(t.Context(), drill(m[0].Ref(), 6, "")))
	if s := list(t, c, "app").Snapshots[0]; !s.Good() {
		t.Errorf("one that was proven after it failed does not count: %+v", s)
	}
}

func TestNoDrillWithoutItsSnapshotAndOfAnotherHost(t *testing.T) {
	s := memory.New()
	c := catalog.New(s, nil, host)
	m := store(t, c, "app", 1)[0]
	if err := c.PutDrill(t.Context(), drill(manifest("app", 2).Ref(), 3, "")); err == nil {
		t.Error("a drill was stored of a snapshot that does not exist")
	}
	if err := catalog.New(s, nil, "web2").PutDrill(t.Context(), drill(m.Ref(), 3, "")); err == nil {
		t.Error("another host has stored a drill")
	}
	bad := drill(m.Ref(), 3, "")
	bad.ReadyMS = 1e13
	if err := c.PutDrill(t.Context(), bad); err == nil {
		t.Error("a drill was stored that nobody can read")
	}
	if got := keys(t, s); len(got) != 2 {
		t.Errorf("stored are %v", got)
	}
}

func TestRemoveTakesDrillsLast(t *testing.T) {
	s := memory.New()
	c := catalog.New(s, nil, host)
	m := store(t, c, "app", 1)[0]
	must(t, errors.Join(c.PutDrill(t.Context(), drill(m.Ref(), 2, "")), c.PutDrill(t.Context(), drill(m.Ref(), 3, "broken"))))
	must(t, c.Remove(t.Context(), m.Ref()))
	if got := keys(t, s); len(got) != 0 {
		t.Errorf("left are %v", got)
	}
}

func TestRemoveThatIsCutOffLeavesNoSnapshotAndWhatSweepTakes(t *testing.T) {
	for _, kind := range faulttest.Kinds {
		for at := 1; ; at++ {
			s := memory.New()
			c := catalog.New(s, nil, host)
			m := store(t, c, "app", 1)[0]
			must(t, c.PutDrill(t.Context(), drill(m.Ref(), 2, "")))
			s.Faults = &faulttest.Injector{At: at, Kind: kind, Cancel: func() {}}
			err := c.Remove(t.Context(), m.Ref())
			calls := len(s.Faults.Calls())
			s.Faults = nil
			if there := len(list(t, c, "app").Snapshots); there > 0 && len(keys(t, s)) != 3 {
				t.Errorf("%s call %d: the snapshot is there, and of its objects only %v (%v)", kind, at, keys(t, s), err)
			} else if there == 0 {
				if _, _, err := c.Sweep(t.Context(), "app", time.Now().AddDate(1, 0, 0)); err != nil || len(keys(t, s)) != 0 {
					t.Errorf("%s call %d: swept, %v, left are %v", kind, at, err, keys(t, s))
				}
			}
			if at >= calls {
				break
			}
		}
	}
}

func TestSweepKeepsTheNewestProofAndTheNewestFailure(t *testing.T) {
	s := memory.New()
	c := catalog.New(s, nil, host)
	m := store(t, c, "app", 1)[0]
	for day, failed := range []string{"", "a", "", "b", "c", ""} {
		must(t, c.PutDrill(t.Context(), drill(m.Ref(), 10+day, failed)))
	}
	if _, _, err := c.Sweep(t.Context(), "app", day0.AddDate(0, 0, 11)); err != nil {
		t.Fatal(err)
	}
	var left []int
	for _, d := range list(t, c, "app").Snapshots[0].Drills {
		left = append(left, int(d.At.Sub(day0)/(24*time.Hour)))
	}
	if !slices.Equal(left, []int{14, 15}) {
		t.Errorf("left are those of days %v", left)
	}
}

func TestACopyHasTheDrills(t *testing.T) {
	far, v := memory.New(), newVault(t)
	c := v.catalog()
	must(t, c.PutDrill(t.Context(), drill(v.manifest.Ref(), 3, "")))
	put(t, v.store, v.manifest.Ref().Key(".drill-20261106T030000Z-failed"), "{no drill at all")
	from := list(t, c, "app").Snapshots[0]
	to := catalog.New(far, nil, host)
	must(t, c.Copy(t.Context(), to, from, func(int64) {}))
	if got := list(t, to, "app").Snapshots; len(got) != 1 || len(got[0].Drills) != 1 || got[0].Proven() != from.Proven() {
		t.Errorf("the copy is %+v", got)
	}
}

func TestAProofIsOfEveryCopyButOneThatFailedAlone(t *testing.T) {
	trial := func(day int, proven bool) snapshot.Trial {
		return snapshot.Trial{At: day0.AddDate(0, 0, day), Proven: proven}
	}
	copied := func(trials ...snapshot.Trial) catalog.Snapshot { return catalog.Snapshot{Drills: trials} }
	none := snapshot.Trial{}
	for name, test := range map[string]struct {
		this, other catalog.Snapshot
		want        snapshot.Trial
	}{
		"neither was tried out":        {copied(), copied(), none},
		"the other is proven":          {copied(), copied(trial(1, true)), trial(1, true)},
		"both are":                     {copied(trial(1, true)), copied(trial(1, true)), none},
		"this one is proven later":     {copied(trial(2, true)), copied(trial(1, true)), none},
		"the other one is":             {copied(trial(1, true)), copied(trial(1, true), trial(2, true)), trial(2, true)},
		"this one has failed alone":    {copied(trial(1, false)), copied(trial(2, true)), none},
		"both have failed before":      {copied(trial(1, false)), copied(trial(1, false), trial(2, true)), trial(2, true)},
		"the other failed, or as well": {copied(), copied(trial(1, false)), none},
	} {
		if got := test.this.Lacks(test.other); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

func TestOfAnEncryptedSnapshotADrillTellsItsVerdictAlone(t *testing.T) {
	v := newVault(t)
	to := v.pair(t) // from here on, its keys
	want := drill(v.manifest.Ref(), 3, "letters/to-anna is damaged")
	must(t, v.catalog().WithRecipients(to).PutDrill(t.Context(), want))
	trial := want.Trial()
	stored, err := v.store.Get(t.Context(), want.Ref().Key(trial.Kind()), 0, -1)
	must(t, err)
	text, err := io.ReadAll(stored)
	must(t, err)
	if text := string(text); strings.Contains(text, "anna") || strings.Contains(text, "postgresql") {
		t.Errorf("in the clear lies %s", text)
	}
	got, err := v.catalog().Drill(t.Context(), want.Ref(), trial)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got, err = catalog.New(v.store, nil, host).Drill(t.Context(), want.Ref(), trial)
	if !errors.Is(err, seal.ErrLocked) || got.Proven() || got.RestoreMS != want.RestoreMS {
		t.Errorf("without a key it is %+v (%v)", got, err)
	}

	nobody := drill(v.manifest.Ref(), 4, "")
	must(t, v.catalog().PutDrill(t.Context(), nobody))
	got, err = v.catalog().Drill(t.Context(), want.Ref(), nobody.Trial())
	if err != nil || !got.Proven() || len(got.Checks) != 0 || len(got.Sealed) != 0 {
		t.Errorf("with nobody to encrypt it to it is %+v (%v)", got, err)
	}
}

func TestADrillThatIsNoneIsTold(t *testing.T) {
	s := memory.New()
	c := catalog.New(s, nil, host)
	m := store(t, c, "app", 1)[0]
	put(t, s, m.Ref().Key(".drill-20261106T030000Z-failed"), strings.Repeat("{", 2*snapshot.MaxDrill))
	if _, err := c.Drill(t.Context(), m.Ref(), list(t, c, "app").Snapshots[0].Drilled()); err == nil {
		t.Error("it was read")
	}
}
