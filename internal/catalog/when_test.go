package catalog_test

import (
	"testing"
	"time"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/snapshot"
)

func TestWhenMeansTheNewestGoodSnapshotNotAfterIt(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(text string) time.Time {
		moment, err := time.ParseInLocation(time.DateTime, text, berlin)
		if err != nil {
			t.Fatal(err)
		}
		return moment
	}
	now := at("2026-11-23 12:00:00")
	snap := func(id string, taken string, grade snapshot.Grade) catalog.Snapshot {
		return catalog.Snapshot{Manifest: snapshot.Manifest{ID: snapshot.ID(id), Volume: "app", Taken: at(taken), Grade: grade, Quiesce: "pause"}}
	}
	all := []catalog.Snapshot{
		snap("20261120T130000Z-00000001", "2026-11-20 14:00:00", snapshot.Frozen),
		snap("20261122T225959Z-00000002", "2026-11-22 23:59:59", snapshot.Frozen),
		snap("20261123T090000Z-00000003", "2026-11-23 10:00:00", snapshot.Cold),
		snap("20261123T103000Z-00000004", "2026-11-23 11:30:00", snapshot.Fuzzy),
	}
	for text, want := range map[string]string{
		"":                          "00000003",
		"latest":                    "00000003",
		"1h":                        "00000003",
		"2h1m":                      "00000002",
		"yesterday":                 "00000002",
		"3d":                        "",
		"2026-11-22":                "00000002",
		"2026-11-21":                "00000001",
		"2026-11-20T14:00":          "00000001",
		"2026-11-20 13:59":          "",
		"2026-11-20T13:00:00Z":      "00000001",
		"2026-11-20T12:59:59Z":      "",
		"20261123T1030":             "00000004", // by its id, also one that does not count
		"20261123":                  "",         // two begin so
		"20261122T225959Z-00000002": "00000002",
		"20251122T225959Z-00000002": "",
	} {
		when, err := catalog.ParseWhen(text, now, berlin)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		got, err := when.Pick(all)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q picked %s", text, got.ID)
		case want != "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case want != "" && string(got.ID[17:]) != want:
			t.Errorf("%q picked %s, want %s", text, got.ID, want)
		}
	}
}

func TestWhatIsNoMoment(t *testing.T) {
	for _, text := range []string{"last", "2026-13-01", "-2h", "tomorrow", "202", "20261123T030000Z-5f0c2a9e0", "20261123T030000z", "99999999999999999d", "@"} {
		if _, err := catalog.ParseWhen(text, time.Now(), time.UTC); err == nil {
			t.Errorf("%q was taken for one", text)
		}
	}
}

func TestAnUnclearBeginningNamesBoth(t *testing.T) {
	a, b := manifest("app", 1), manifest("db", 1)
	b.ID = "20261102T030000Z-ffffffff"
	both := []catalog.Snapshot{{Manifest: a}, {Manifest: b}, {Manifest: a}}
	if _, err := catalog.Find(both, "20261102"); err == nil {
		t.Error("one was chosen")
	}
	if got, err := catalog.Find(both, string(a.ID)); err != nil || got.ID != a.ID {
		t.Errorf("the same snapshot on two targets is one, but: %v", err)
	}
}
