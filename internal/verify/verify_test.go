package verify_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/memory"
	"github.com/backupd/backupd/internal/verify"
)

var day0 = time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)

func day(n int) time.Time { return day0.AddDate(0, 0, n) }

// disk is a store that can go bad.
type disk struct {
	targets.Store
	spoil   map[string]int // keys, and from which byte on one reads wrongly
	down    error
	reading func(key string) // is told what is read
}

func (d *disk) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if d.reading != nil {
		d.reading(key)
	}
	if d.down != nil {
		return nil, d.down
	}
	r, err := d.Store.Get(ctx, key, off, n)
	bad, spoiled := d.spoil[key]
	if err != nil || !spoiled {
		return r, err
	}
	data, err := io.ReadAll(r)
	if at := int64(bad) - off; at >= 0 && at < int64(len(data)) {
		data[at] ^= 1
	}
	return io.NopCloser(bytes.NewReader(data)), err
}

func (d *disk) List(ctx context.Context, prefix string) iter.Seq2[targets.Object, error] {
	if d.down != nil {
		return func(yield func(targets.Object, error) bool) { yield(targets.Object{}, d.down) }
	}
	return d.Store.List(ctx, prefix)
}

// world is a target, and a ledger of what was found on it.
type world struct {
	t        *testing.T
	disk     *disk
	ledger   *ledger.Ledger
	verifier verify.Verifier
	data     []byte // of an archive
	sum      archive.Summary
	now      time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, disk: &disk{Store: memory.New(), spoil: map[string]int{}}, now: day(10)}
	var err error
	w.ledger, _, err = ledger.Open(t.TempDir(), rand.Reader)
	w.must(err)
	cat := catalog.New(w.disk, nil, "web1").WithFound(func(host, volume string) (map[snapshot.ID]snapshot.Proof, error) {
		known, err := w.ledger.Proofs(host, volume)
		return known["near"], err
	})
	w.verifier = verify.Verifier{Targets: []backup.Target{{Name: "near", Catalog: cat}}, Ledger: w.ledger, Now: func() time.Time { return w.now }}
	dir, out := t.TempDir(), bytes.Buffer{}
	w.must(os.WriteFile(filepath.Join(dir, "file"), bytes.Repeat([]byte("some data "), 1000), 0o600))
	w.sum, err = archive.Create(t.Context(), dir, &out, archive.Options{})
	w.must(err)
	w.data = out.Bytes()
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) target() backup.Target { return w.verifier.Targets[0] }

// put makes a snapshot exist.
func (w *world) put(volume string, n int) catalog.Snapshot {
	w.t.Helper()
	s := taken(volume, n, int64(len(w.data)))
	s.Archives[0].Plain, s.Archives[0].Directory = w.sum.Plain, w.sum.Directory
	w.must(w.target().Catalog.PutArchive(w.t.Context(), s.Ref(), snapshot.ArchiveKind, bytes.NewReader(w.data)))
	w.must(w.target().Catalog.Commit(w.t.Context(), s.Manifest))
	return s
}

func taken(volume string, n int, size int64) catalog.Snapshot {
	id, err := snapshot.NewID(day(n), strings.NewReader("abcd"))
	if err != nil {
		panic(err)
	}
	return catalog.Snapshot{Manifest: snapshot.Manifest{
		Format: snapshot.Format, ID: id, Host: "web1", Owner: "owner", Volume: volume, Taken: day(n), Quiesce: "pause", Grade: snapshot.Frozen,
		Archives: []snapshot.Archive{{ID: id, Size: size}},
	}}
}

func (w *world) verify(s catalog.Snapshot) verify.Result {
	w.t.Helper()
	r := w.verifier.Snapshot(w.t.Context(), w.target(), s, func(int64, int64) {})
	w.must(errors.Join(r.Aside, r.Unrecorded))
	return r
}

// listed gives the snapshot as a listing has it now.
func (w *world) listed(s catalog.Snapshot) catalog.Snapshot {
	w.t.Helper()
	l, err := w.target().Catalog.Volume(w.t.Context(), s.Volume)
	w.must(errors.Join(err, l.Err()))
	for _, found := range l.Snapshots {
		if found.ID == s.ID {
			return found
		}
	}
	w.t.Fatalf("snapshot %s is not listed", s.ID)
	return catalog.Snapshot{}
}

func TestDamageIsRememberedAndCountsUntilItIsGone(t *testing.T) {
	w := newWorld(t)
	s := w.put("app", 1)
	if r := w.verify(s); r.Verdict != verify.Sound || r.Bytes != w.sum.Plain {
		t.Fatalf("%+v", r)
	}
	if got := w.listed(s); !got.Good() || !got.Proof.At.Equal(day(10)) {
		t.Errorf("listed as %+v", got.Proof)
	}
	w.disk.spoil[s.Ref().Key(snapshot.ArchiveKind)] = 30
	w.now = day(11)
	r := w.verify(s)
	if r.Verdict != verify.Damaged || len(r.Damages) == 0 {
		t.Fatalf("%+v", r)
	}
	if got := w.listed(s); got.Good() || !got.Proof.At.Equal(day(11)) || !strings.HasPrefix(got.Proof.Damaged, "at byte ") || got.Proof.Hits == 0 {
		t.Errorf("listed as %+v", got.Proof)
	}
	w.disk.down = errors.New("not now")
	if r := w.verify(s); r.Verdict != verify.Unread {
		t.Errorf("a disk that cannot be read: %+v", r)
	}
	w.disk.down = nil
	if got := w.listed(s); got.Proof.Damaged == "" {
		t.Error("a disk that could not be read has made a snapshot sound")
	}
	clear(w.disk.spoil)
	if r := w.verify(s); r.Verdict != verify.Sound || !w.listed(s).Good() {
		t.Errorf("once it reads well again: %+v", r)
	}
}

func TestAnArchiveThatIsGoneIsDamageUnlessTheSnapshotWasRemoved(t *testing.T) {
	w := newWorld(t)
	s := w.put("app", 1)
	w.must(w.disk.Delete(t.Context(), s.Ref().Key(snapshot.ArchiveKind)))
	if r := w.verify(s); r.Verdict != verify.Damaged || !errors.Is(r.Err, archive.ErrDamaged) || w.listed(s).Good() {
		t.Errorf("%+v", r)
	}
	s = w.put("app", 2)
	w.disk.reading = func(key string) { // retention comes by while it is read
		w.disk.reading = nil
		w.must(w.target().Catalog.Remove(t.Context(), s.Ref()))
	}
	if r := w.verify(s); r.Verdict != verify.Gone {
		t.Errorf("%+v", r)
	}
	if known, err := w.ledger.Proofs("web1", "app"); err != nil || len(known["near"]) != 1 {
		t.Errorf("remembered: %v (%v)", known, err)
	}
}

func (w *world) round(began time.Time) (told []string) {
	w.t.Helper()
	ways := 0
	err := w.verifier.Round(w.t.Context(), began, func() { ways++ }, func(o verify.Outcome) {
		told = append(told, fmt.Sprintf("%s %s/%d", o.Verdict, o.Snapshot.Volume, o.Snapshot.Taken.Sub(day0)/(24*time.Hour)))
	})
	w.must(err)
	if ways < len(told) {
		w.t.Errorf("it gave way %d times in %d snapshots", ways, len(told))
	}
	return told
}

func TestARoundReadsTheNewestAndThoseThatWaitedLongest(t *testing.T) {
	w := newWorld(t)
	for n := 1; n <= 5; n++ {
		w.put("app", n)
	}
	w.put("db", 3)
	rounds := [][]string{
		{"sound app/5", "sound db/3", "sound app/1", "sound app/2"},
		{"sound app/5", "sound db/3", "sound app/3", "sound app/4"},
		{"sound app/5", "sound db/3", "sound app/1", "sound app/2"},
	}
	for i, want := range rounds {
		w.now = day(10 + i)
		if diff := cmp.Diff(want, w.round(day(10+i))); diff != "" {
			t.Errorf("round %d (-want +got):\n%s", i, diff)
		}
		if again := w.round(day(10 + i)); len(again) > 0 {
			t.Errorf("round %d, gone on with: %v", i, again)
		}
	}
}

func TestARoundForgetsWhatIsGoneAndOnlyThat(t *testing.T) {
	w := newWorld(t)
	gone, stays := w.put("app", 1), w.put("app", 2)
	w.round(day(10))
	w.must(w.target().Catalog.Remove(t.Context(), gone.Ref()))
	w.disk.down = errors.New("not now")
	if err := w.verifier.Round(t.Context(), day(10), func() {}, func(verify.Outcome) {}); err == nil {
		t.Error("a target that cannot be listed is no error")
	}
	if known, err := w.ledger.Proofs("web1", "app"); err != nil || len(known["near"]) != 2 {
		t.Errorf("by a target that cannot be listed: %v (%v)", known, err)
	}
	w.disk.down = nil
	w.round(day(10))
	known, err := w.ledger.Proofs("web1", "app")
	if _, there := known["near"][stays.ID]; err != nil || len(known["near"]) != 1 || !there {
		t.Errorf("remembered: %v (%v)", known, err)
	}
}

func TestARoundEndsWhenItIsAskedTo(t *testing.T) {
	w := newWorld(t)
	w.put("app", 1)
	w.put("db", 1)
	ctx, cancel := context.WithCancel(t.Context())
	told := 0
	err := w.verifier.Round(ctx, day(10), func() {}, func(verify.Outcome) { told++; cancel() })
	if !errors.Is(err, context.Canceled) || told != 1 {
		t.Errorf("it ended with %v after %d", err, told)
	}
}

func TestWhatIsChosen(t *testing.T) {
	fuzzy := func(s catalog.Snapshot) catalog.Snapshot { s.Grade = snapshot.Fuzzy; return s }
	found := func(s catalog.Snapshot, n int, damaged string) catalog.Snapshot {
		s.Proof = snapshot.Proof{At: day(n), Damaged: damaged}
		return s
	}
	tests := map[string]struct {
		all  []catalog.Snapshot
		want string
	}{
		"nothing":                               {nil, ""},
		"newest that is good":                   {[]catalog.Snapshot{taken("a", 1, 10), taken("a", 2, 10), fuzzy(taken("a", 3, 90))}, "a/2 a/1"},
		"as many bytes again, and one more":     {[]catalog.Snapshot{taken("a", 1, 6), taken("a", 2, 6), taken("a", 3, 6), taken("a", 4, 10)}, "a/4 a/1 a/2"},
		"at least one":                          {[]catalog.Snapshot{taken("a", 1, 1000), taken("a", 4, 1)}, "a/4 a/1"},
		"longest by when it was read":           {[]catalog.Snapshot{found(taken("a", 1, 10), 9, ""), taken("a", 2, 10), taken("a", 3, 10)}, "a/3 a/2"},
		"damaged, and what is relied on":        {[]catalog.Snapshot{taken("a", 1, 10), taken("a", 2, 10), found(taken("a", 3, 10), 9, "bad")}, "a/3 a/2 a/1"},
		"what this round has read is paid for":  {[]catalog.Snapshot{found(taken("a", 1, 10), 20, ""), taken("a", 2, 10), taken("a", 3, 10)}, "a/3"},
		"what this round has read is not again": {[]catalog.Snapshot{taken("a", 1, 10), found(taken("a", 2, 10), 20, "")}, "a/1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			days := map[snapshot.ID]time.Duration{}
			for _, s := range test.all {
				days[s.ID] = s.Taken.Sub(day0) / (24 * time.Hour)
			}
			for _, s := range verify.Choose(verify.Candidates(test.all), day(20)) {
				got = append(got, fmt.Sprintf("%s/%d", s.Ref.Volume, days[s.Ref.ID]))
			}
			if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// leaning stores a snapshot, one that leans on its archive, and one for which nothing had changed since: package archive's golden ones.
func (w *world) leaning() (base, next, unchanged catalog.Snapshot) {
	w.t.Helper()
	base, next, unchanged = taken("app", 0, 0), taken("app", 1, 0), taken("app", 2, 0)
	base.ID = "20261101T030000Z-00000001" // as the golden archive has it
	for golden, s := range map[string]*catalog.Snapshot{"leaning-base": &base, "leaning": &next} {
		data, err := os.ReadFile(filepath.Join("..", "archive", "testdata", golden+".tar.zst"))
		w.must(err)
		r, err := archive.Open(w.t.Context(), func(_ context.Context, off, n int64) (io.ReadCloser, error) {
			return io.NopCloser(io.NewSectionReader(bytes.NewReader(data), off, n)), nil
		}, int64(len(data)), archive.ReaderOptions{})
		w.must(err)
		s.Archives = []snapshot.Archive{{ID: s.ID, Size: int64(len(data)), Plain: r.Contents().Tar, Directory: r.Contents().Directory}}
		r.Close()
		w.must(w.target().Catalog.PutArchive(w.t.Context(), s.Ref(), snapshot.ArchiveKind, bytes.NewReader(data)))
	}
	next.Archives = append(next.Archives, base.Archives[0])
	unchanged.Archives = next.Archives
	for _, s := range []catalog.Snapshot{base, next, unchanged} {
		w.must(w.target().Catalog.Commit(w.t.Context(), s.Manifest))
	}
	return base, next, unchanged
}

func TestDamageOfABaseCountsForAllThatLeanOnIt(t *testing.T) {
	for name, gone := range map[string]bool{"whose snapshot is there": false, "whose snapshot is gone": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			base, next, unchanged := w.leaning()
			all := []catalog.Snapshot{base, next, unchanged}
			if gone {
				w.must(w.target().Catalog.Remove(t.Context(), base.Ref()))
				all = all[1:]
			}
			for _, s := range all {
				if r := w.verify(s); r.Verdict != verify.Sound || !w.listed(s).MayBeLeantOn() {
					t.Fatalf("snapshot %s: %+v", s.ID, r)
				}
			}
			w.now = day(11)
			w.disk.spoil[base.Ref().Key(snapshot.ArchiveKind)] = 400
			r := w.verify(next)
			if r.Verdict != verify.Damaged || len(r.Damages) == 0 || r.Damages[0].Archive != string(base.ID) {
				t.Fatalf("%+v", r)
			}
			if len(r.Spoiled) != 1 || r.Spoiled[0] != base.ID || len(r.Hurts) != len(all)-1 {
				t.Errorf("spoiled are %v, which hurts %v", r.Spoiled, r.Hurts)
			}
			w.round(day(2)) // nothing of what is known is forgotten, as long as the archive is there
			for _, s := range all {
				if got := w.listed(s); got.Good() || got.MayBeLeantOn() || got.Proof.Damaged == "" {
					t.Errorf("snapshot %s is listed as %+v", s.ID, got.Proof)
				}
			}

			// What is read of it may be sound all the same; but nothing leans on it any more.
			w.now = day(12)
			clear(w.disk.spoil)
			if r := w.verify(unchanged); r.Verdict != verify.Sound || !w.listed(unchanged).Good() || w.listed(unchanged).MayBeLeantOn() {
				t.Errorf("%+v, listed as %+v", r, w.listed(unchanged))
			}
		})
	}
}

func TestABaseThatCannotBeOpenedIsDamageOfTheBase(t *testing.T) {
	w := newWorld(t)
	base, next, _ := w.leaning()
	w.must(w.disk.Delete(t.Context(), base.Ref().Key(snapshot.ArchiveKind)))
	if r := w.verify(next); r.Verdict != verify.Damaged || len(r.Spoiled) != 1 || r.Spoiled[0] != base.ID || len(r.Hurts) != 2 {
		t.Errorf("%+v", r)
	}
}

func TestARoundReadsWhatSnapshotsHaveInCommonOnce(t *testing.T) {
	w := newWorld(t)
	base, next, unchanged := w.leaning()
	if diff := cmp.Diff([]string{"sound app/2", "sound app/0"}, w.round(day(10))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, s := range []catalog.Snapshot{base, next, unchanged} {
		if got := w.listed(s).Proof; !got.At.Equal(day(10)) {
			t.Errorf("snapshot %s: it was last verified at %s", s.ID, got.At)
		}
	}
	w.now = day(11)
	w.disk.spoil[next.Ref().Key(snapshot.ArchiveKind)] = 40
	w.round(day(11))
	if w.listed(next).Good() || w.listed(unchanged).Good() || !w.listed(base).Good() {
		t.Error("damage counts for others than those that are read from there")
	}
}
