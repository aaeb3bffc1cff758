package archive

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// later is a clock that is so much ahead, so that files which were just made count as old.
func later() time.Time { return time.Now().Add(time.Minute) }

// stillness archives a folder that lies on disk, changes it in the middle, and tells whether it counts as still.
func stillness(t *testing.T, o Options, change func(dir string)) bool {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "a"), 0o755))
	for _, name := range []string{"a/file", "b"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("text"), 0o644))
	}
	o.step = func(what, path string) {
		if what == "read" && path == "b" && change != nil {
			change(dir)
		}
	}
	sum, err := Create(t.Context(), dir, io.Discard, o)
	must(t, err)
	return sum.Still
}

func TestStill(t *testing.T) {
	var fs unix.Statfs_t
	must(t, unix.Statfs(t.TempDir(), &fs))
	if fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.OVERLAYFS_SUPER_MAGIC {
		t.Skip("temporary files lie on a file system where nothing can be proven")
	}
	if stillness(t, Options{}, nil) {
		t.Error("still, and nobody asked for a proof")
	}
	if !stillness(t, Options{Clock: later}, nil) {
		t.Error("a folder in which nothing moved is not still")
	}
	if stillness(t, Options{Clock: time.Now}, nil) {
		t.Error("still, although everything was written just before")
	}
	mapped := func(dir string) {
		f, err := os.OpenFile(filepath.Join(dir, "b"), os.O_RDWR, 0)
		must(t, err)
		defer f.Close()
		m, err := unix.Mmap(int(f.Fd()), 0, 4, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		must(t, err)
		m[0]++
		must(t, unix.Munmap(m))
	}
	for name, change := range map[string]func(dir string){
		"a file that was read is written to": func(dir string) { must(t, os.WriteFile(filepath.Join(dir, "a/file"), []byte("TEXT"), 0o644)) },
		"a store through a mapping":          mapped,
		"a file comes":                       func(dir string) { must(t, os.WriteFile(filepath.Join(dir, "a/new"), nil, 0o644)) },
		"a file goes":                        func(dir string) { must(t, os.Remove(filepath.Join(dir, "a/file"))) },
		"an attribute":                       func(dir string) { must(t, os.Chmod(filepath.Join(dir, "a/file"), 0o600)) },
		"the time of a file set back": func(dir string) {
			must(t, os.Chtimes(filepath.Join(dir, "a/file"), time.Unix(1, 0), time.Unix(1, 0)))
		},
	} {
		o := Options{Clock: func() time.Time { return time.Now().Add(unsettled) }} // only what comes after the beginning counts
		if stillness(t, o, func(dir string) {
			time.Sleep(20 * time.Millisecond) // the grain of the times that a kernel gives to files
			change(dir)
		}) {
			t.Errorf("%s: still", name)
		}
	}
}
