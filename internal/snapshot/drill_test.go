package snapshot_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/backupd/backupd/internal/snapshot"
)

func drill() snapshot.Drill {
	return snapshot.Drill{
		Format: snapshot.DrillFormat, Host: "web1", Volume: "app", ID: "20261123T030000Z-5f0c2a9e",
		At: time.Date(2026, 12, 1, 4, 0, 0, 7, time.UTC), Bytes: 50, RestoreMS: 80_000, ReadyMS: 4213, TookMS: 90_000,
		Started: []string{"db"}, Checks: []snapshot.Check{{Of: "postgresql", Asked: "pg_amcheck", Answer: "no errors", TookMS: 12}},
	}
}

func TestTheKeyOfADrillTellsItsVerdictAndTheRecoveryTime(t *testing.T) {
	d := drill()
	if got := d.Trial().Kind(); got != ".drill-20261201T040000Z-proven-84213ms" {
		t.Errorf("a proof lies as %q", got)
	}
	d.Failed = "pg_amcheck found damage"
	if got := d.Trial().Kind(); got != ".drill-20261201T040000Z-failed" {
		t.Errorf("a failure lies as %q", got)
	}
}

func TestKeysOfDrillsComeBackAsTheyWentAndSortByTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		trial := rapid.Custom(func(rt *rapid.T) snapshot.Trial {
			t := snapshot.Trial{At: time.Unix(rapid.Int64Range(0, 1<<34).Draw(rt, "at"), 0).UTC(), Proven: rapid.Bool().Draw(rt, "proven")}
			if t.Proven {
				t.Recovery = time.Duration(rapid.Int64Range(0, 1e12-1).Draw(rt, "ms")) * time.Millisecond
			}
			return t
		})
		a, b := trial.Draw(rt, "a"), trial.Draw(rt, "b")
		ref := manifest().Ref()
		gotRef, kind, err := snapshot.ParseKey(ref.Key(a.Kind()))
		got, ok := kind.Trial()
		if err != nil || gotRef != ref || !ok || got != a {
			rt.Fatalf("%+v went as %q and came back as %+v (%v)", a, a.Kind(), got, err)
		}
		if a.At.Before(b.At) && a.Kind() >= b.Kind() {
			rt.Fatalf("%q is not before %q", a.Kind(), b.Kind())
		}
	})
}

func TestWhatIsNoKeyOfADrill(t *testing.T) {
	for _, kind := range []string{
		".drill", ".drill-", ".drill-20261201T040000Z", ".drill-20261201T040000Z-proven", ".drill-20261201T040000Z-proven-ms",
		".drill-20261201T040000Z-proven-007ms", ".drill-20261201T040000Z-proven--1ms", ".drill-20261201T040000Z-proven-1234567890123ms",
		".drill-20261301T040000Z-failed", ".drill-20261201T040000Z-failed-3ms", ".drill-20261201T040000Z-failed.json",
		".drill-20261201T040000Z-failed\n", ".drill-20261201T040000Z-fine", ".Drill-20261201T040000Z-failed",
	} {
		if _, k, err := snapshot.ParseKey("web1/app/20261123T030000Z-5f0c2a9e" + kind); err == nil {
			t.Errorf("%q was taken for %q", kind, k)
		}
	}
}

func TestADrillComesBackAsItWent(t *testing.T) {
	want := drill()
	want.Volume = "caf\xe9" // JSON cannot hold it
	data, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := snapshot.DecodeDrill(data, want.Ref(), want.Trial())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestADrillThatIsNotBelieved(t *testing.T) {
	change := map[string]func(d *snapshot.Drill){
		"of a newer format":    func(d *snapshot.Drill) { d.Format++ },
		"without a format":     func(d *snapshot.Drill) { d.Format = 0 },
		"of another volume":    func(d *snapshot.Drill) { d.Volume = "app2" },
		"of another host":      func(d *snapshot.Drill) { d.Host = "web2" },
		"of another snapshot":  func(d *snapshot.Drill) { d.ID = "20261124T030000Z-5f0c2a9e" },
		"of another time":      func(d *snapshot.Drill) { d.At = d.At.Add(time.Hour) },
		"a failure as a proof": func(d *snapshot.Drill) { d.Failed = "all is lost" },
		"faster than it was":   func(d *snapshot.Drill) { d.ReadyMS-- },
		"with a negative size": func(d *snapshot.Drill) { d.Bytes = -1 },
		"with a negative time": func(d *snapshot.Drill) { d.ReadyMS, d.RestoreMS = -1, d.RestoreMS+d.ReadyMS+1 },
	}
	for name, change := range change {
		d := drill()
		change(&d)
		data, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := snapshot.DecodeDrill(data, drill().Ref(), drill().Trial()); err == nil {
			t.Errorf("a drill %s is believed", name)
		}
	}
	for _, text := range []string{"", "null", "[]", "{", `{"format":1,"checks":7}`} {
		if _, err := snapshot.DecodeDrill([]byte(text), drill().Ref(), drill().Trial()); err == nil {
			t.Errorf("%q is believed", text)
		}
	}
}

func TestADrillThatCouldNotBeReadAgainIsRefused(t *testing.T) {
	d := drill()
	d.Checks[0].Answer = strings.Repeat("x", snapshot.MaxDrill)
	if _, err := d.Encode(); err == nil {
		t.Error("it was encoded")
	}
}

func TestOtherWordsLeaveTheVerdict(t *testing.T) {
	d := drill()
	d.Failed = "pg_amcheck found damage in /var/lib/secret"
	bare := d.WithWords(snapshot.Words{})
	if bare.Proven() || bare.Trial() != d.Trial() || len(bare.Checks)+len(bare.Started) > 0 || strings.Contains(bare.Failed, "secret") {
		t.Errorf("without words it is %+v", bare)
	}
	if diff := cmp.Diff(d, bare.WithWords(d.Words())); diff != "" {
		t.Error(diff)
	}
	if d := drill().WithWords(snapshot.Words{Failed: "it is not"}); !d.Proven() {
		t.Error("words have made a failure of a proof")
	}
}

func FuzzDecodeDrill(f *testing.F) {
	data, err := drill().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := snapshot.DecodeDrill(data, drill().Ref(), drill().Trial())
		if err == nil && (d.Ref() != drill().Ref() || !d.Proven() || d.Trial() != drill().Trial()) {
			t.Errorf("believed %+v", d)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	for _, kind := range append(snapshot.ArchiveKinds(), snapshot.ManifestKind, snapshot.PinKind, drill().Trial().Kind()) {
		f.Add(drill().Ref().Key(kind))
	}
	f.Fuzz(func(t *testing.T, key string) {
		ref, kind, err := snapshot.ParseKey(key)
		if err == nil && ref.Key(kind) != key {
			t.Errorf("%q became %+v %q, which lies at %q", key, ref, kind, ref.Key(kind))
		}
	})
}
