package ledger

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/backupd/backupd/internal/snapshot"
)

func ref(volume string, n int) snapshot.Ref {
	id, err := snapshot.NewID(day(n), strings.NewReader("abcd"))
	if err != nil {
		panic(err)
	}
	return snapshot.Ref{Host: "web 1", Volume: volume, ID: id}
}

func prove(t *testing.T, l *Ledger, target string, ref snapshot.Ref, p snapshot.Proof) (aside error) {
	t.Helper()
	aside, err := l.Prove(target, ref, p)
	if err != nil {
		t.Fatal(err)
	}
	return aside
}

func wantProofs(t *testing.T, l *Ledger, volume string, want Proofs) {
	t.Helper()
	got, err := l.Proofs("web 1", volume)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("of %q (-want +got):\n%s", volume, diff)
	}
}

func TestWhatWasFoundIsRememberedOfAnyVolume(t *testing.T) {
	l := open(t, t.TempDir())
	bad := snapshot.Proof{At: day(9), Damaged: "at byte 12: digest", Hits: 2, Paths: []string{"a", "b"}}
	for _, volume := range []string{"app", "app/2", "\xff\n", strings.Repeat("ü", 40)} {
		wantProofs(t, l, volume, Proofs{})
		prove(t, l, "local", ref(volume, 1), bad)
		prove(t, l, "far", ref(volume, 1), snapshot.Proof{At: day(9)})
		prove(t, l, "local", ref(volume, 2), bad)
		prove(t, l, "local", ref(volume, 2), snapshot.Proof{At: day(10)}) // it was a mistake
	}
	for _, volume := range []string{"app", "app/2", "\xff\n", strings.Repeat("ü", 40)} {
		wantProofs(t, open(t, l.dir), volume, Proofs{
			"local": {ref(volume, 1).ID: bad, ref(volume, 2).ID: {At: day(10)}}, "far": {ref(volume, 1).ID: {At: day(9)}},
		})
	}
}

func TestMuchDamageIsCutShort(t *testing.T) {
	l := open(t, t.TempDir())
	prove(t, l, "local", ref("app", 1), snapshot.Proof{At: day(9), Damaged: strings.Repeat("x", 1<<20), Paths: make([]string, 1000), Hits: 1000})
	got, err := l.Proofs("web 1", "app")
	p := got["local"][ref("app", 1).ID]
	if err != nil || len(p.Damaged) != maxError || len(p.Paths) != proofPaths || p.Hits != 1000 {
		t.Errorf("%d bytes, %d paths, %d hits (%v)", len(p.Damaged), len(p.Paths), p.Hits, err)
	}
}

func TestWhatIsGoneIsForgotten(t *testing.T) {
	l := open(t, t.TempDir())
	for _, r := range []snapshot.Ref{ref("app", 1), ref("app", 2), ref("db", 1)} {
		prove(t, l, "local", r, snapshot.Proof{At: day(9)})
	}
	err := l.EachProof(func(target string, r snapshot.Ref, p snapshot.Proof) bool {
		return target == "local" && (r == ref("app", 1) || r == ref("db", 1)) && p.At.Equal(day(9))
	})
	if err != nil {
		t.Fatal(err)
	}
	wantProofs(t, l, "app", Proofs{"local": {ref("app", 2).ID: {At: day(9)}}})
	wantProofs(t, l, "db", Proofs{})
	if files, err := os.ReadDir(filepath.Join(l.dir, proofsName)); err != nil || len(files) != 1 {
		t.Errorf("%d files are left (%v)", len(files), err)
	}
}

func TestWhatCannotBeReadIsAnErrorUntilItIsFoundOutAnew(t *testing.T) {
	l := open(t, t.TempDir())
	r := ref("app", 1)
	prove(t, l, "local", r, snapshot.Proof{At: day(9), Damaged: "much"})
	path := l.proofs("web 1", "app")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	spoiled := map[string]string{
		"another volume's": strings.Replace(string(whole), `"app"`, `"db"`, 1),
		"no id":            strings.Replace(string(whole), string(r.ID), "../../etc", 1),
		"no version":       strings.Replace(string(whole), `"version": 1`, `"version": 0`, 1),
		"nothing in it":    `{"version": 1}`,
		"zeros":            strings.Repeat("\x00", len(whole)),
		"huge":             strings.Repeat(" ", maxProofs+2),
	}
	for i := range len(whole) - 2 { // torn anywhere
		spoiled[string(whole[:i])] = string(whole[:i])
	}
	for name, text := range spoiled {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if p, err := l.Proofs("web 1", "app"); err == nil {
			t.Fatalf("%s: it was read as %v", name, p)
		}
	}
	if err := l.EachProof(func(string, snapshot.Ref, snapshot.Proof) bool { return true }); err != nil {
		t.Error(err)
	}
	if aside := prove(t, l, "local", r, snapshot.Proof{At: day(10)}); aside == nil || !strings.Contains(aside.Error(), path+".bad-1") {
		t.Errorf("set aside: %v", aside)
	}
	wantProofs(t, l, "app", Proofs{"local": {r.ID: {At: day(10)}}})
}

func TestANewerFileIsNotReplaced(t *testing.T) {
	l := open(t, t.TempDir())
	r := ref("app", 1)
	prove(t, l, "local", r, snapshot.Proof{At: day(9)})
	newer := `{"version": 2, "proofs": []}`
	if err := os.WriteFile(l.proofs("web 1", "app"), []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Prove("local", r, snapshot.Proof{At: day(10)}); err == nil {
		t.Error("it was replaced")
	}
}
