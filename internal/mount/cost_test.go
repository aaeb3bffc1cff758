package mount_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/backupd/backupd/internal/mount"
)

func TestReadsAtRandomFetchTheirFramesAlone(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	content := random(40<<20, 5)
	write(t, dir, map[string]string{"large": content, "small": "1"})
	ref := w.add(t, "app", dir, 1)
	w.show(t, mount.Options{})
	f, err := os.OpenFile(w.path(ref, "large"), os.O_RDONLY|syscall.O_DIRECT, 0) // without what the kernel reads ahead
	if errors.Is(err, syscall.EINVAL) {
		f, err = os.Open(w.path(ref, "large"))
	}
	must(t, err)
	defer f.Close()
	buf := make([]byte, 4096)
	_, err = f.ReadAt(buf, 0) // which loads the index
	must(t, err)
	rng := rand.New(rand.NewPCG(1, 2))
	frames := map[int64]bool{}
	gets, bytes := w.cost(func() {
		for range 50 {
			off := rng.Int64N(10) * 4 << 20 & (40<<20 - 1) // ten frames, apart from one another
			off += rng.Int64N(255) * 4096
			frames[off>>20] = true
			n, err := f.ReadAt(buf, off)
			if err != nil && err != io.EOF || string(buf[:n]) != content[off:off+int64(n)] {
				t.Fatalf("at %d: %d bytes, %v", off, n, err)
			}
		}
	})
	if gets > int64(len(frames)) || bytes > int64(len(frames))*(1<<20+100) {
		t.Errorf("%d requests for %d bytes, of %d frames", gets, bytes, len(frames))
	}
}

func TestListingTheTopReadsNoData(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	write(t, dir, map[string]string{"large": random(20<<20, 6), "d/e": "1"})
	var last string
	for day := 1; day <= 20; day++ {
		last = w.path(w.add(t, "app", dir, day))
	}
	w.show(t, mount.Options{})
	if gets, _ := w.cost(func() { names(t, filepath.Join(w.dir, "app")) }); gets != 0 {
		t.Errorf("%d requests to list snapshots", gets)
	}
	_, bytes := w.cost(func() { names(t, filepath.Join(w.dir, last)) })
	if bytes > 300<<10 {
		t.Errorf("%d bytes to list a snapshot", bytes)
	}
}

// A folder of very many names is listed as it comes, and nothing is kept of it.
func TestAFolderOfManyNames(t *testing.T) {
	const many = 100_000
	w, dir := newWorld(), t.TempDir()
	for i := range many {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("a file with a name of some length %06d", i)), nil, 0o644))
	}
	ref := w.add(t, "app", dir, 1)
	w.show(t, mount.Options{})
	before := heap()
	f, err := os.Open(w.path(ref))
	must(t, err)
	defer f.Close()
	n := 0
	for {
		entries, err := f.ReadDir(1000)
		if err == io.EOF {
			break
		}
		must(t, err)
		for _, e := range entries {
			if want := fmt.Sprintf("a file with a name of some length %06d", n); e.Name() != want {
				t.Fatalf("%q, not %q", e.Name(), want)
			}
			if n++; n%500 == 0 {
				if _, err := e.Info(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if n != many {
		t.Errorf("%d names", n)
	}
	if grown := heap() - before; grown > 40<<20 { // the cache has 32 MiB
		t.Errorf("%d bytes are held", grown)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
