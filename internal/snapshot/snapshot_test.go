package snapshot_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/backupd/backupd/internal/snapshot"
)

var taken = time.Date(2026, 11, 23, 3, 0, 0, 123, time.UTC)

func newID(t testing.TB, at time.Time) snapshot.ID {
	t.Helper()
	id, err := snapshot.NewID(at, bytes.NewReader([]byte{0x5f, 0x0c, 0x2a, 0x9e}))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAnIDTellsTheMomentInUTC(t *testing.T) {
	id := newID(t, taken.In(time.FixedZone("", 5*3600)))
	if id != "20261123T030000Z-5f0c2a9e" {
		t.Errorf("id is %q", id)
	}
	if got := id.Time(); !got.Equal(taken.Truncate(time.Second)) {
		t.Errorf("its time is %v", got)
	}
}

func TestNoIDWithoutEntropy(t *testing.T) {
	if id, err := snapshot.NewID(taken, strings.NewReader("ab")); err == nil {
		t.Errorf("got %q from two bytes", id)
	}
}

func TestWhatIsNotAnIDIsRefused(t *testing.T) {
	for _, s := range []string{
		"", "latest", "20261123T030000Z", "20261123T030000Z-5F0C2A9E", "20261323T030000Z-5f0c2a9e", "20261123T030000Z-5f0c2a9e ",
		"20261123T030000Z-5f0c2a9e\n", "../61123T030000Z-5f0c2a9e",
	} {
		if id, err := snapshot.ParseID(s); err == nil {
			t.Errorf("%q became %q", s, id)
		}
	}
}

func TestKeysComeBackAsTheyWent(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.Custom(func(rt *rapid.T) string { return string(rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(rt, "bytes")) })
		ref := snapshot.Ref{Host: name.Draw(rt, "host"), Volume: name.Draw(rt, "volume"), ID: "20261123T030000Z-5f0c2a9e"}
		kind := rapid.SampledFrom(append(snapshot.ArchiveKinds(), snapshot.ManifestKind, snapshot.PinKind)).Draw(rt, "kind")
		key := ref.Key(kind)
		for segment := range strings.SplitSeq(key, "/") {
			if segment == "" || segment[0] == '.' || strings.ContainsAny(segment, "\\\x00\n *?") {
				rt.Fatalf("key %q has a segment that is not plain", key)
			}
		}
		gotRef, gotKind, err := snapshot.ParseKey(key)
		if err != nil || gotRef != ref || gotKind != kind {
			rt.Fatalf("key %q gave %+v %q, %v", key, gotRef, gotKind, err)
		}
	})
}

func TestForeignKeysAreForeign(t *testing.T) {
	for _, key := range []string{
		"", "host", "host/app", "host/app/readme.txt", "host/app/20261123T030000Z-5f0c2a9e", "host/app/20261123T030000Z-5f0c2a9e.tar",
		"host/app/x/20261123T030000Z-5f0c2a9e.json", "/app/20261123T030000Z-5f0c2a9e.json", "host/../20261123T030000Z-5f0c2a9e.json",
		"host/%61pp/20261123T030000Z-5f0c2a9e.json", "host/a b/20261123T030000Z-5f0c2a9e.json", "host/%2e/20261123T030000Z-5f0c2a9e.json",
		"host/.app/20261123T030000Z-5f0c2a9e.json", "host/%zz/20261123T030000Z-5f0c2a9e.json",
	} {
		if ref, _, err := snapshot.ParseKey(key); err == nil {
			t.Errorf("%q was taken for %+v", key, ref)
		}
	}
}

func TestVolumesThatBeginAlikeAreKeptApart(t *testing.T) {
	if strings.HasPrefix(snapshot.VolumePrefix("h", "app2"), snapshot.VolumePrefix("h", "app")) {
		t.Error("app2 lies below the prefix of app")
	}
}

func manifest() snapshot.Manifest {
	return snapshot.Manifest{
		Format: snapshot.Format, ID: "20261123T030000Z-5f0c2a9e", Host: "web1", Owner: "o", Volume: "app", Taken: taken,
		Quiesce: "pause", Grade: snapshot.Frozen, Held: []snapshot.Held{{Container: "db", Milliseconds: 12}, {Container: "app", Milliseconds: 15}},
		Archives: []snapshot.Archive{{ID: "20261123T030000Z-5f0c2a9e", Size: 10, Plain: 99, Directory: snapshot.Digest{31: 0xab}}},
		Contents: snapshot.Contents{Entries: 3, Bytes: 50},
	}
}

func TestAManifestComesBackAsItWent(t *testing.T) {
	want := manifest()
	data, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := snapshot.Decode(data, want.Ref())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.HeldMS() != 15 || got.StoredBytes() != 10 {
		t.Errorf("held %d ms, stored %d bytes", got.HeldMS(), got.StoredBytes())
	}
}

func TestAManifestOfANameThatIsNoTextComesBackAsItWent(t *testing.T) {
	want := manifest()
	want.Volume = "caf\xe9\xff \ufffd"
	data, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := snapshot.Decode(data, want.Ref()); err != nil || got.Volume != want.Volume {
		t.Errorf("volume is %q (%v), want %q", got.Volume, err, want.Volume)
	}
}

func TestAManifestThatIsNotBelieved(t *testing.T) {
	change := map[string]func(m *snapshot.Manifest){
		"of a newer format":      func(m *snapshot.Manifest) { m.Format = snapshot.Format + 1 },
		"without a format":       func(m *snapshot.Manifest) { m.Format = 0 },
		"of another volume":      func(m *snapshot.Manifest) { m.Volume = "app2" },
		"of another snapshot":    func(m *snapshot.Manifest) { m.ID = "20261124T030000Z-5f0c2a9e" },
		"without a moment":       func(m *snapshot.Manifest) { m.Taken = time.Time{} },
		"with an unknown grade":  func(m *snapshot.Manifest) { m.Grade = "perfect" },
		"without an archive":     func(m *snapshot.Manifest) { m.Archives = nil },
		"with a path as archive": func(m *snapshot.Manifest) { m.Archives[0].ID = "../../etc/passwd" },
		"with an archive twice":  func(m *snapshot.Manifest) { m.Archives = append(m.Archives, m.Archives[0]) },
		"with its own not first": func(m *snapshot.Manifest) {
			other := m.Archives[0]
			other.ID = "20261122T030000Z-5f0c2a9e"
			m.Archives = []snapshot.Archive{other, m.Archives[0]}
		},
		"without a digest":        func(m *snapshot.Manifest) { m.Archives[0].Directory = snapshot.Digest{} },
		"with a negative size":    func(m *snapshot.Manifest) { m.Archives[0].Size = -1 },
		"encrypted who knows how": func(m *snapshot.Manifest) { m.Archives[0].Encryption = "rot13" },
	}
	for name, change := range change {
		m := manifest()
		change(&m)
		data, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := snapshot.Decode(data, manifest().Ref()); err == nil {
			t.Errorf("one %s was believed", name)
		}
	}
	for _, data := range []string{"", "null", "[]", "{", `{"format":"1"}`} {
		if _, err := snapshot.Decode([]byte(data), manifest().Ref()); err == nil {
			t.Errorf("%q was believed", data)
		}
	}
}

func TestWhatCounts(t *testing.T) {
	for name, c := range map[string]struct {
		change func(m *snapshot.Manifest)
		good   bool
	}{
		"frozen":                          {func(*snapshot.Manifest) {}, true},
		"fuzzy though it was to be still": {func(m *snapshot.Manifest) { m.Grade = snapshot.Fuzzy }, false},
		"fuzzy as was asked":              {func(m *snapshot.Manifest) { m.Grade, m.Quiesce = snapshot.Fuzzy, "none" }, true},
		"suspect":                         {func(m *snapshot.Manifest) { m.Suspect = "empty" }, false},
	} {
		m := manifest()
		c.change(&m)
		if m.Good() != c.good {
			t.Errorf("%s: good is %v", name, m.Good())
		}
	}
}

func TestCredentialsStayOutOfManifests(t *testing.T) {
	for name, c := range map[string]struct {
		options, public map[string]string
		withheld        []string
	}{
		"cifs": {
			options:  map[string]string{"type": "cifs", "device": "//nas/data", "o": "username=joe,password=hunter2,vers=3.0,ro"},
			public:   map[string]string{"type": "cifs", "device": "//nas/data", "o": "vers=3.0,ro"},
			withheld: []string{"o.password", "o.username"},
		},
		"nfs": {
			options: map[string]string{"type": "nfs", "device": ":/data", "o": "addr=10.0.0.1,rw"},
			public:  map[string]string{"type": "nfs", "device": ":/data", "o": "addr=10.0.0.1,rw"},
		},
		"a plugin": {
			options:  map[string]string{"size": "10G", "SecretKey": "x", "apikey": "y", "accessKeyId": "z"},
			public:   map[string]string{"size": "10G"},
			withheld: []string{"SecretKey", "accessKeyId", "apikey"},
		},
		"none": {},
	} {
		public, withheld := snapshot.WithoutCredentials(c.options)
		if diff := cmp.Diff(c.public, public) + cmp.Diff(c.withheld, withheld); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func FuzzDecode(f *testing.F) {
	data, err := manifest().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := snapshot.Decode(data, manifest().Ref())
		if err != nil {
			return
		}
		if m.Ref() != manifest().Ref() || len(m.Archives) == 0 {
			t.Errorf("believed %+v", m)
		}
	})
}
