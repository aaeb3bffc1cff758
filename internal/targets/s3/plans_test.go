package s3

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/targets/targetstest"
)

var (
	plans = flag.Int("plans", 25, "how many plans of faults are carried out")
	first = flag.Uint64("first-plan", 1, "seed of the first one")
)

// TestNoPlanOfFaultsMakesAFalseSnapshot stores and removes snapshots on a server that fails, breaks off, lies and tells old stories, by
// plans that seeds give. Then an honest server is asked: what is listed is whole, and what was committed is listed.
func TestNoPlanOfFaultsMakesAFalseSnapshot(t *testing.T) {
	server := s3test.Start(t)
	stored, unreadable := 0, 0
	for seed := *first; seed < *first+uint64(*plans); seed++ {
		p := plan{rand.New(rand.NewPCG(seed, 0)), server}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			committed, left := p.carryOut(t)
			stored, unreadable = stored+committed, unreadable+left
		})
	}
	t.Attr("plans", fmt.Sprint(*plans))
	t.Attr("committed", fmt.Sprint(stored))
	t.Attr("left_unreadable", fmt.Sprint(unreadable))
	if stored == 0 || stored == *plans*days {
		t.Errorf("%d snapshots were committed of %d: the plans are too hard, or too easy", stored, *plans*days)
	}
}

// days is how many snapshots a plan is carried out on.
const days = 3

// plan is made of random faults.
type plan struct {
	*rand.Rand
	server *s3test.Server
}

func (p plan) carryOut(t *testing.T) (committed, unreadable int) {
	rules, told := p.server.Faults(p.Rand, 1+p.IntN(4))
	s, _ := throughRules(t, p.server.WithT(calm{t}), "", rules) // uploads may well be left
	cat := catalog.New(s, nil, "web1")
	content, there := map[snapshot.ID][]byte{}, map[snapshot.ID]bool{}
	var oldest snapshot.Ref
	for day := range days {
		m, data := p.snapshot(day)
		content[m.ID] = data
		err := cat.PutArchive(t.Context(), m.Ref(), m.Archives[0].Kind(), bytes.NewReader(data))
		if err == nil {
			err = cat.Commit(t.Context(), m)
		}
		if there[m.ID] = err == nil; err == nil {
			committed++
		}
		if day == 0 {
			oldest = m.Ref()
		}
	}
	removed := cat.Remove(t.Context(), oldest) // whatever comes of it
	_, _, _ = cat.Sweep(t.Context(), oldest.Volume, time.Now())
	delete(there, oldest.ID)

	honest := openAt(t, p.server.URL(s.at.bucket))
	l, err := catalog.New(honest, nil, "web1").Volume(t.Context(), oldest.Volume)
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range l.Snapshots {
		if err := same(t, honest, found, content[found.ID]); err != nil {
			t.Errorf("snapshot %s is listed: %v; faults are %v", found.ID, err, told)
		}
		if found.ID == oldest.ID && removed == nil {
			t.Errorf("snapshot %s is listed, and was removed; faults are %v", found.ID, told)
		}
		delete(there, found.ID)
	}
	for id, was := range there {
		if was {
			t.Errorf("snapshot %s was committed, and is not listed; faults are %v", id, told)
		}
	}
	return committed, len(l.Unreadable)
}

// same reads an archive and compares it.
func same(t *testing.T, s *Store, found catalog.Snapshot, want []byte) error {
	got, err := targetstest.Read(t, s, found.Ref().Key(found.Archives[0].Kind()))
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("its archive has %d bytes, other than the %d that were put", len(got), len(want))
	}
	return err
}

func (p plan) snapshot(day int) (snapshot.Manifest, []byte) {
	data := make([]byte, []int{1000, 100_000, 9 << 20}[p.IntN(3)])
	for i := range data {
		data[i] = byte(p.Uint32())
	}
	taken := time.Date(2026, 11, 1+day, 3, 0, 0, 0, time.UTC)
	id, err := snapshot.NewID(taken, bytes.NewReader([]byte{0, 0, 0, byte(day)}))
	if err != nil {
		panic(err)
	}
	return snapshot.Manifest{
		Format: snapshot.Format, ID: id, Host: "web1", Volume: "app", Taken: taken, Quiesce: "pause", Grade: snapshot.Frozen,
		Archives: []snapshot.Archive{{ID: id, Size: int64(len(data)), Directory: sha256.Sum256(data)}},
	}, data
}

// calm is a test that does not fail.
type calm struct{ testing.TB }

func (calm) Errorf(string, ...any) {}
func (calm) Helper()               {}
