package s3

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets/s3/s3test"
)

var many = flag.Int("snapshots", 2000, "how many snapshots are listed")

// TestListingManySnapshots lists snapshots of a host, 50 of each volume: first with an empty cache, which takes one request for each manifest,
// then with a full one, which takes none but to list, 1000 keys at a time.
func TestListingManySnapshots(t *testing.T) {
	server := s3test.Start(t)
	s, f := through(t, server)
	fillBucket(t, filepath.Join(server.Dir, s.at.bucket, s.at.prefix), *many)
	cache := catalog.NewCache(filepath.Join(t.TempDir(), "cache"))
	pages := (2**many + 999) / 1000
	for _, run := range []struct {
		name string
		gets int
	}{{"cold", *many}, {"warm", 0}} {
		lists, gets := f.Count("list"), f.Count("get")
		before := heap()
		began := time.Now()
		l, err := catalog.New(s, cache, "web1").All(t.Context())
		took := time.Since(began)
		if err != nil || l.Err() != nil || len(l.Snapshots) != *many {
			t.Fatalf("%s: listed %d snapshots: %v, %v", run.name, len(l.Snapshots), err, l.Err())
		}
		lists, gets = f.Count("list")-lists, f.Count("get")-gets
		t.Logf("%s: %s, %d requests to list, %d to read; %d MiB of memory hold what was listed", run.name, took.Round(time.Millisecond), lists, gets, (heap()-before)>>20)
		if lists > pages+1 || gets != run.gets {
			t.Errorf("%s: %d requests to list and %d to read, want %d and %d", run.name, lists, gets, pages, run.gets)
		}
		runtime.KeepAlive(l)
	}
	lists := f.Count("list")
	if l, err := catalog.New(s, cache, "web1").Volume(t.Context(), "volume-00001"); err != nil || len(l.Snapshots) != perVolume || f.Count("list")-lists != 1 {
		t.Errorf("listed %d snapshots of a volume with %d requests: %v", len(l.Snapshots), f.Count("list")-lists, err)
	}
}

const perVolume = 50

// fillBucket makes objects as the server keeps them, in a fraction of the time that it would take to put them.
func fillBucket(t *testing.T, dir string, snapshots int) {
	t.Helper()
	began := time.Date(2026, 1, 1, 3, 0, 0, 0, time.UTC)
	for n := range snapshots {
		volume, taken := fmt.Sprintf("volume-%05d", n/perVolume), began.AddDate(0, 0, n%perVolume)
		id, err := snapshot.NewID(taken, bytes.NewReader(binary.BigEndian.AppendUint32(nil, uint32(n))))
		if err != nil {
			t.Fatal(err)
		}
		m := snapshot.Manifest{
			Format: snapshot.Format, ID: id, Host: "web1", Owner: "0123456789abcdef", Volume: volume, Taken: taken, Program: "1.0.0",
			Quiesce: "pause", Grade: snapshot.Frozen, Held: []snapshot.Held{{Container: "shop-db-1", Milliseconds: 65}, {Container: "shop-app-1", Milliseconds: 80}},
			Archives: []snapshot.Archive{{ID: id, Size: 0, Directory: snapshot.Digest{1}}},
			Contents: snapshot.Contents{Entries: 1234, Bytes: rand.Int64N(1 << 40)},
			Restore: snapshot.Restore{Driver: "local", Labels: map[string]string{"com.docker.compose.project": "shop", "com.docker.compose.volume": "data", "backupd.enable": "true"},
				Containers: []snapshot.Container{{Name: "shop-db-1", Image: "postgres:18", ImageID: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", Project: "shop", Service: "db"}}},
		}
		data, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		place := filepath.Join(dir, "web1", volume)
		if n%perVolume == 0 {
			if err := os.MkdirAll(place, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for kind, content := range map[snapshot.Kind][]byte{snapshot.ManifestKind: data, snapshot.ArchiveKind: nil} {
			if err := os.WriteFile(filepath.Join(place, string(id)+string(kind)), content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
