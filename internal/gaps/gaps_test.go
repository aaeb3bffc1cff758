package gaps_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/gaps"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/seal"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets/memory"
)

var day0 = time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)

// world is three targets, and a volume that goes to all of them.
type world struct {
	stores map[string]*memory.Store
	filler gaps.Filler
	volume plan.Volume
	bytes  []byte // of an archive
	sum    archive.Summary
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{stores: map[string]*memory.Store{}, volume: plan.Volume{Volume: engine.Volume{Name: "app"}}}
	w.volume.Retention.Value = retention.Policy{All: true}
	w.filler = gaps.Filler{
		Pruner: backup.Pruner{Owner: "owner", Now: func() time.Time { return day0.AddDate(1, 0, 0) }, Zone: time.UTC},
		Lock:   catalog.Locks{Dir: t.TempDir()}.Hold, Log: slog.New(slog.DiscardHandler),
	}
	for _, name := range []string{"near", "far", "third"} {
		w.stores[name] = memory.New()
		w.filler.Targets = append(w.filler.Targets, backup.Target{Name: name, Catalog: catalog.New(w.stores[name], nil, "web1")})
		w.volume.Targets.Value = append(w.volume.Targets.Value, name)
	}
	dir, out := t.TempDir(), bytes.Buffer{}
	must(t, os.WriteFile(filepath.Join(dir, "file"), bytes.Repeat([]byte("some data "), 1000), 0o600))
	var err error
	w.sum, err = archive.Create(t.Context(), dir, &out, archive.Options{})
	must(t, err)
	w.bytes = out.Bytes()
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) manifest(day int) snapshot.Manifest {
	taken := day0.AddDate(0, 0, day)
	id, err := snapshot.NewID(taken, bytes.NewReader([]byte{0, 0, 0, byte(day)}))
	if err != nil {
		panic(err)
	}
	return snapshot.Manifest{
		Format: snapshot.Format, ID: id, Host: "web1", Owner: "owner", Volume: "app", Taken: taken, Quiesce: "pause", Grade: snapshot.Frozen,
		Archives: []snapshot.Archive{{ID: id, Size: int64(len(w.bytes)), Plain: w.sum.Plain, Directory: w.sum.Directory}},
	}
}

// put makes a snapshot exist on some targets.
func (w *world) put(t *testing.T, m snapshot.Manifest, data []byte, on ...string) snapshot.Manifest {
	t.Helper()
	for _, target := range w.filler.Targets {
		if slices.Contains(on, target.Name) {
			must(t, target.Catalog.PutArchive(t.Context(), m.Ref(), m.Archives[0].Kind(), bytes.NewReader(data)))
			must(t, target.Catalog.Commit(t.Context(), m))
		}
	}
	return m
}

func (w *world) fill(t *testing.T, l gaps.Limits) []gaps.Copy {
	t.Helper()
	copies, err := w.filler.Fill(t.Context(), w.volume, l)
	must(t, err)
	return copies
}

func (w *world) objects(t *testing.T, target string) map[string]string {
	t.Helper()
	w.stores[target].Faults = nil
	found := map[string]string{}
	for o, err := range w.stores[target].List(t.Context(), "") {
		must(t, err)
		r, err := w.stores[target].Get(t.Context(), o.Key, 0, -1)
		must(t, err)
		data, err := io.ReadAll(r)
		must(t, err)
		found[o.Key] = string(data)
	}
	return found
}

func (w *world) alike(t *testing.T, targets ...string) {
	t.Helper()
	for _, other := range targets[1:] {
		if diff := cmp.Diff(w.objects(t, targets[0]), w.objects(t, other)); diff != "" {
			t.Errorf("%s and %s differ:\n%s", targets[0], other, diff)
		}
	}
}

// told is what came of the copies: "day target<source", and "!" where it failed.
func told(copies []gaps.Copy) (all []string) {
	for _, c := range copies {
		word := c.Snapshot.Taken.Format("2") + " " + c.Target + "<" + c.Source
		if c.Err != nil {
			word += "!"
		}
		all = append(all, word)
	}
	return all
}

func want(t *testing.T, copies []gaps.Copy, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, told(copies)); diff != "" {
		t.Error("copies (-want +got):\n" + diff)
		for _, c := range copies {
			t.Log(c.Target, c.Err, c.Spoiled)
		}
	}
}

func TestTargetsBecomeAlikeNewestFirst(t *testing.T) {
	w := newWorld(t)
	w.put(t, w.manifest(1), w.bytes, "near", "far")
	two := w.put(t, w.manifest(2), w.bytes, "far")
	must(t, w.filler.Targets[1].Catalog.Pin(t.Context(), two.Ref()))
	dry := w.fill(t, gaps.Limits{DryRun: true})
	if n := len(w.objects(t, "near")); n != 2 {
		t.Errorf("a dry run left %d objects", n)
	}
	want(t, dry, "3 near<far", "3 third<far", "2 third<near")
	want(t, w.fill(t, gaps.Limits{}), "3 near<far", "3 third<near", "2 third<near")
	w.alike(t, "near", "far", "third")
	want(t, w.fill(t, gaps.Limits{}))
}

func drill(m snapshot.Manifest, failed string) snapshot.Drill {
	return snapshot.Drill{Format: snapshot.DrillFormat, Host: m.Host, Volume: m.Volume, ID: m.ID, At: day0.AddDate(0, 0, 5), Failed: failed}
}

func TestProofsGoAlongAndWhatFailedItsDrillStays(t *testing.T) {
	w := newWorld(t)
	one, two := w.put(t, w.manifest(1), w.bytes, "near", "far"), w.put(t, w.manifest(2), w.bytes, "near", "far")
	for _, on := range w.filler.Targets[:2] {
		must(t, on.Catalog.PutDrill(t.Context(), drill(one, "")))
		must(t, on.Catalog.PutDrill(t.Context(), drill(two, "a page is torn")))
	}
	want(t, w.fill(t, gaps.Limits{}), "2 third<near")
	l, err := w.filler.Targets[2].Catalog.Volume(t.Context(), "app")
	must(t, err)
	if s := l.Snapshots[0]; !s.Proven().Proven {
		t.Errorf("the copy is not known to be proven: %+v", s.Drills)
	}

	// A proof that all but one have missed.
	three := w.put(t, w.manifest(3), w.bytes, "near", "far", "third")
	must(t, w.filler.Targets[1].Catalog.PutDrill(t.Context(), drill(three, "")))
	w.fill(t, gaps.Limits{DryRun: true})
	if n := w.proven(t, three.ID); n != 1 {
		t.Errorf("a dry run has left proofs on %d targets", n)
	}
	want(t, w.fill(t, gaps.Limits{}))
	if n := w.proven(t, three.ID); n != 3 {
		t.Errorf("it is proven on %d targets", n)
	}
}

// proven counts the targets on which a snapshot is.
func (w *world) proven(t *testing.T, id snapshot.ID) (n int) {
	t.Helper()
	for _, target := range w.filler.Targets {
		l, err := target.Catalog.Volume(t.Context(), "app")
		must(t, err)
		for _, s := range l.Snapshots {
			if s.ID == id && s.Proven().Proven {
				n++
			}
		}
	}
	return n
}

func TestWhatIsEncryptedIsCopiedWithoutAKey(t *testing.T) {
	w := newWorld(t)
	key, err := age.GenerateX25519Identity()
	must(t, err)
	var to seal.Recipients
	must(t, to.UnmarshalText([]byte(key.Recipient().String())))
	var sealed bytes.Buffer
	sealer, err := to.Writer(&sealed)
	must(t, err)
	_, err = sealer.Write(w.bytes)
	must(t, err)
	must(t, sealer.Close())
	m := w.manifest(1)
	m.Archives[0].Encryption, m.Archives[0].Size, m.Archives[0].Stored = snapshot.Age, int64(sealed.Len()), sha256.Sum256(sealed.Bytes())
	w.put(t, m, sealed.Bytes(), "near", "far")
	w.stores["near"].Alter(m.Ref().Key(snapshot.SealedKind), flip)
	want(t, w.fill(t, gaps.Limits{}), "2 third<far")
	w.alike(t, "far", "third")
}

func flip(data []byte) []byte {
	data[len(data)/3] ^= 1
	return data
}

func TestDamageIsNotSpreadAndAnotherSourceIsTried(t *testing.T) {
	for name, spoil := range map[string]func(data []byte) []byte{
		"a bit": flip, "cut off": func(data []byte) []byte { return data[:len(data)/2] }, "nothing left": func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.put(t, w.manifest(1), w.bytes, "near", "far")
			w.stores["near"].Alter(m.Ref().Key(snapshot.ArchiveKind), spoil)
			copies := w.fill(t, gaps.Limits{})
			want(t, copies, "2 third<far")
			if s := copies[0].Spoiled; len(s) != 1 || !errors.Is(s[0], archive.ErrDamaged) || !strings.HasPrefix(s[0].Error(), "on target near: ") {
				t.Errorf("of the damaged copy it says %v", s)
			}
			w.alike(t, "far", "third")

			// Where there is no other, nothing comes to lie anywhere.
			w = newWorld(t)
			m = w.put(t, w.manifest(1), w.bytes, "near")
			w.stores["near"].Alter(m.Ref().Key(snapshot.ArchiveKind), spoil)
			want(t, w.fill(t, gaps.Limits{}), "2 far<!", "2 third<!")
			if found := w.objects(t, "far"); len(found) > 0 {
				t.Errorf("the target has %q", slices.Collect(maps.Keys(found)))
			}
		})
	}
}

func TestWhatRetentionWouldRemoveAtOnceIsNotCopied(t *testing.T) {
	w := newWorld(t)
	w.volume.Retention.Value = retention.Policy{Last: 2}
	for day := range 5 {
		w.put(t, w.manifest(day), w.bytes, "near")
	}
	w.put(t, w.manifest(5), w.bytes, "far")
	want(t, w.fill(t, gaps.Limits{To: []string{"far"}}), "5 far<near")
	pruned, err := w.filler.Pruner.Prune(t.Context(), w.filler.Targets[1], "app", w.volume.Retention.Value)
	if err != nil || len(pruned.Removed) > 0 {
		t.Errorf("retention then removed %v (%v)", pruned.Removed, err)
	}
}

func TestLimits(t *testing.T) {
	w := newWorld(t)
	stranger := w.manifest(1)
	stranger.Owner = "somebody else"
	w.put(t, stranger, w.bytes, "near")
	w.put(t, w.manifest(2), w.bytes, "near")
	w.put(t, w.manifest(3), w.bytes, "far")
	want(t, w.fill(t, gaps.Limits{DryRun: true, From: []string{"near"}}), "3 far<near", "3 third<near")
	want(t, w.fill(t, gaps.Limits{DryRun: true, To: []string{"near"}}), "4 near<far")
	want(t, w.fill(t, gaps.Limits{DryRun: true, To: []string{"third"}, AnyOwner: true}), "4 third<far", "3 third<near", "2 third<near")
	want(t, w.fill(t, gaps.Limits{DryRun: true, Since: map[string]time.Time{"third": day0.AddDate(0, 0, 3), "far": day0.AddDate(0, 0, 3)}}), "4 near<far", "4 third<far")
	want(t, w.fill(t, gaps.Limits{Most: 1}), "4 near<far")
}

func TestLeftIsWhatIsNotKnownToBeFilled(t *testing.T) {
	bad := errors.New("bad luck")
	one := catalog.Snapshot{Manifest: snapshot.Manifest{ID: "one"}}
	for name, c := range map[string]struct {
		copies []gaps.Copy
		most   int
		want   []string
	}{
		"all that there was":            {[]gaps.Copy{{Target: "far", Snapshot: one}}, 2, nil},
		"nothing":                       {nil, 2, nil},
		"one that failed":               {[]gaps.Copy{{Target: "far", Snapshot: one, Err: bad}, {Target: "third", Snapshot: one}}, 3, []string{"far"}},
		"as many as there may be":       {[]gaps.Copy{{Target: "far", Snapshot: one}}, 1, []string{"far", "third"}},
		"a source that does not answer": {[]gaps.Copy{{Target: "near", Err: bad}}, 0, []string{"far", "third"}},
	} {
		t.Run(name, func(t *testing.T) {
			missed := map[string]time.Time{"far": day0, "third": day0}
			left := gaps.Left(missed, c.copies, gaps.Limits{Most: c.most})
			if got := slices.Sorted(maps.Keys(left)); !slices.Equal(got, c.want) || len(missed) != 2 {
				t.Errorf("left are %q, want %q", got, c.want)
			}
		})
	}
}

func TestNothingIsReplaced(t *testing.T) {
	w := newWorld(t)
	m := w.put(t, w.manifest(1), w.bytes, "near")
	key := m.Ref().Key(snapshot.ArchiveKind)
	must(t, w.stores["far"].Put(t.Context(), key, bytes.NewReader(w.bytes))) // of a run that was cut off before its manifest
	must(t, w.stores["third"].Put(t.Context(), key, strings.NewReader("another one")))
	want(t, w.fill(t, gaps.Limits{}), "2 far<near", "2 third<near!")
	w.alike(t, "near", "far")
	if diff := cmp.Diff(map[string]string{key: "another one"}, w.objects(t, "third")); diff != "" {
		t.Error(diff)
	}
}

// TestEveryFault has one call of either store fail, in each way. No snapshot is listed then that is not whole, and the next go makes it good.
func TestEveryFault(t *testing.T) {
	for _, kind := range faulttest.Kinds {
		for at := 1; ; at++ {
			w := newWorld(t)
			w.volume.Targets.Value = []string{"near", "far"}
			w.filler.Targets = w.filler.Targets[:2]
			for day := range 2 {
				w.put(t, w.manifest(day), w.bytes, "near")
			}
			proven := w.put(t, w.manifest(2), w.bytes, "near", "far")
			must(t, w.filler.Targets[0].Catalog.PutDrill(t.Context(), drill(proven, "")))
			ctx, cancel := context.WithCancel(t.Context())
			faults := &faulttest.Injector{At: at, Kind: kind, Cancel: cancel}
			w.stores["near"].Faults, w.stores["far"].Faults = faults, faults
			copies, err := w.filler.Fill(ctx, w.volume, gaps.Limits{})
			cancel()
			failed := err != nil || slices.ContainsFunc(copies, func(c gaps.Copy) bool { return c.Err != nil || len(c.Spoiled) > 0 })
			reached := len(faults.Calls()) >= at
			if failed != reached {
				t.Errorf("call %d %v of %d: %v, %v", at, kind, len(faults.Calls()), told(copies), err)
			}
			w.whole(t, "far")
			w.stores["near"].Faults = nil
			for _, c := range w.fill(t, gaps.Limits{}) {
				if c.Err != nil {
					t.Errorf("after call %d %v: %v", at, kind, c.Err)
				}
			}
			w.alike(t, "near", "far")
			if !reached {
				break
			}
		}
	}
}

// whole checks that each manifest has its archive.
func (w *world) whole(t *testing.T, target string) {
	t.Helper()
	found := w.objects(t, target)
	for key := range found {
		if base, ok := strings.CutSuffix(key, string(snapshot.ManifestKind)); ok && found[base+string(snapshot.ArchiveKind)] != string(w.bytes) {
			t.Errorf("%s is listed on %s and has no whole archive", base, target)
		}
	}
}
