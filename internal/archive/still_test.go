package archive

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/testenv"
)

// later is a clock that is so much ahead, so that files which were just made count as old.
func later() time.Time { return time.Now().Add(time.Minute) }

// stillness archives a folder that lies on disk, changes it in the middle, and tells whether it counts as still.
func stillness(t *testing.T, on string, o Options, change func(dir string)) bool {
	t.Helper()
	dir, err := os.MkdirTemp(on, "")
	must(t, err)
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
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) { provable(t, testenv.FileSystem(t, kind, 512)) })
	}
	t.Run("tmpfs, where a store through a mapping moves no time", func(t *testing.T) {
		testenv.Root(t)
		on := t.TempDir()
		must(t, unix.Mount("none", on, "tmpfs", 0, ""))
		defer func() { must(t, unix.Unmount(on, 0)) }()
		if stillness(t, on, Options{Clock: later, Prove: true}, nil) {
			t.Error("still")
		}
	})
}

// provable tests a file system where something can be proven.
func provable(t *testing.T, on string) {
	if stillness(t, on, Options{Clock: later}, nil) {
		t.Error("still, and nobody asked for a proof")
	}
	if !stillness(t, on, Options{Clock: later, Prove: true}, nil) {
		t.Error("a folder in which nothing moved is not still")
	}
	if stillness(t, on, Options{Clock: time.Now, Prove: true}, nil) {
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
		o := Options{Clock: func() time.Time { return time.Now().Add(unsettled) }, Prove: true} // only what comes after the beginning counts
		if stillness(t, on, o, func(dir string) {
			time.Sleep(20 * time.Millisecond) // the grain of the times that a kernel gives to files
			change(dir)
		}) {
			t.Errorf("%s: still", name)
		}
	}
}
