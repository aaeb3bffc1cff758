package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/testenv"
)

// cloning runs a test on each file system that can clone files. It gets a folder for data, and one beside it.
func cloning(t *testing.T, test func(t *testing.T, dir, beside string)) {
	for _, kind := range []string{"xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			beside := testenv.FileSystem(t, kind, 512)
			dir := filepath.Join(beside, "_data")
			must(t, os.Mkdir(dir, 0o755))
			must(t, CanClone(dir, beside))
			test(t, dir, beside)
		})
	}
}

// noise writes a file that cannot be compressed.
func noise(t testing.TB, path string, size int) {
	t.Helper()
	data := make([]byte, size)
	rand.NewChaCha8(sha256.Sum256([]byte(path))).Read(data)
	must(t, os.WriteFile(path, data, 0o600))
}

// manySizes fills a folder with files of all the sizes that are treated differently, holes and hard links.
func manySizes(t testing.TB, dir string) (large int64) {
	t.Helper()
	sizes := []int{0, 1, 511, 512, 513, cloneFrom - 1, cloneFrom, cloneFrom + 1, frameSize - 1, frameSize, frameSize + 1, 3*frameSize + 4097}
	for i, size := range sizes {
		sub := filepath.Join(dir, fmt.Sprintf("d%d", i%3))
		must(t, os.MkdirAll(sub, 0o755))
		name := filepath.Join(sub, fmt.Sprintf("f%d", size))
		noise(t, name, size)
		must(t, os.Link(name, filepath.Join(dir, fmt.Sprintf("link%d", size))))
		if size >= cloneFrom {
			large++
		}
	}
	for i := range 200 {
		noise(t, filepath.Join(dir, fmt.Sprintf("small%d", i)), 10_000+i)
	}
	sparse(t, filepath.Join(dir, "holes"), 9<<20, 0, 1<<20, 5<<20+4096, 9<<20-8192)
	sparse(t, filepath.Join(dir, "nothing but a hole"), 3<<20)
	return large + 2
}

func TestClonesGiveTheSameBytes(t *testing.T) {
	cloning(t, func(t *testing.T, dir, beside string) {
		large := manySizes(t, dir)
		want, read := archived(t, dir, Options{Level: Fastest, Workers: 2})
		for name, ahead := range map[string]int64{"all ahead": 0, "queue in memory only": 1, "queue that is drained over and over": 1 << 20} {
			t.Run(name, func(t *testing.T) {
				var last int64
				got, sum := archived(t, dir, Options{Level: Fastest, Workers: 2, Clones: beside, Ahead: ahead, Scratch: t.TempDir(),
					Progress: func(read int64) { last = read }})
				if !bytes.Equal(got, want) {
					t.Error("the archive depends on how it was read")
				}
				if sum.Cloned != large || last != sum.Bytes {
					t.Errorf("%d files were cloned, want %d; progress %d of %d bytes", sum.Cloned, large, last, sum.Bytes)
				}
				sum.Cloned = 0
				if diff := cmp.Diff(read, sum); diff != "" {
					t.Error("summary (-read +cloned)\n", diff)
				}
				nothingIn(t, beside, "_data")
			})
		}
	})
}

// nothingIn fails the test unless a folder has just these names.
func nothingIn(t testing.TB, dir string, but ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if strings.Join(names, " ") != strings.Join(but, " ") {
		t.Errorf("in %s there are %q", dir, names)
	}
}

func TestWhatWasTakenIsOfItsMoment(t *testing.T) {
	cloning(t, func(t *testing.T, dir, beside string) {
		manySizes(t, dir)
		want, _ := archived(t, dir, Options{})
		var got bytes.Buffer
		taking, err := Take(t.Context(), dir, &got, Options{Clones: beside})
		must(t, err)
		must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			return errors.Join(os.WriteFile(path, []byte("other"), 0), os.Remove(path))
		}))
		_, err = taking.Finish(t.Context())
		must(t, err)
		if !bytes.Equal(got.Bytes(), want) {
			t.Error("what was written later is in the archive")
		}
	})
}

func TestAFileThatChangesJustBeforeItIsCloned(t *testing.T) {
	cloning(t, func(t *testing.T, dir, beside string) {
		const size = 2*frameSize + 10
		for name, to := range map[string]int64{"emptied": 0, "cut off": frameSize + 5, "extended": size + 1} {
			t.Run(name, func(t *testing.T) {
				path := filepath.Join(dir, "file")
				noise(t, path, size)
				was, err := os.ReadFile(path)
				must(t, err)
				data, sum := archived(t, dir, Options{Clones: beside, step: func(when, what string) {
					if when == "read" {
						must(t, os.Truncate(path, to))
					}
				}})
				got := restored(t, data)["file"]
				kept := min(to, size)
				if sum.Resized != 1 || got != string(was[:kept])+strings.Repeat("\x00", int(size-kept)) {
					t.Errorf("%d resized, and %d bytes are not as expected", sum.Resized, len(got))
				}
			})
		}
	})
}

func TestWhatCannotBeClonedIsRead(t *testing.T) {
	t.Run("file system", func(t *testing.T) {
		beside := t.TempDir()
		if CanClone(beside, beside) == nil {
			t.Skip("the temporary folder is on a file system that can clone")
		}
		sameWithout(t, beside)
	})
	t.Run("folder elsewhere", func(t *testing.T) {
		cloning(t, func(t *testing.T, dir, beside string) {
			if CanClone(dir, t.TempDir()) == nil {
				t.Error("files can be cloned to another file system")
			}
			sameWithout(t, t.TempDir())
		})
	})
	t.Run("file without checksums", func(t *testing.T) {
		beside := testenv.FileSystem(t, "btrfs", 512)
		dir := filepath.Join(beside, "_data")
		must(t, os.Mkdir(dir, 0o755))
		noise(t, filepath.Join(dir, "ordinary"), frameSize)
		out, err := exec.Command(testenv.Tool(t, "chattr"), "+C", dir).CombinedOutput()
		if err != nil {
			t.Fatalf("chattr: %v\n%s", err, out)
		}
		noise(t, filepath.Join(dir, "without"), frameSize)
		want, _ := archived(t, dir, Options{})
		got, sum := archived(t, dir, Options{Clones: beside})
		if sum.Cloned != 2 || !bytes.Equal(got, want) {
			t.Errorf("%d of 2 files were cloned", sum.Cloned)
		}
	})
}

// sameWithout makes an archive where clones cannot be had.
func sameWithout(t *testing.T, clones string) {
	t.Helper()
	dir := t.TempDir()
	manySizes(t, dir)
	want, _ := archived(t, dir, Options{})
	got, sum := archived(t, dir, Options{Clones: clones})
	if sum.Cloned != 0 || !bytes.Equal(got, want) {
		t.Errorf("%d files were cloned; the same bytes: %v", sum.Cloned, bytes.Equal(got, want))
	}
}

func TestATakingGivesAllBackWhateverComes(t *testing.T) {
	gone, stopped := errors.New("disk is gone"), errors.New("stopped")
	cloning(t, func(t *testing.T, dir, beside string) {
		manySizes(t, dir)
		before := descriptors(t)
		o := Options{Clones: beside, Ahead: 1 << 20, Scratch: t.TempDir(), Workers: 1}
		for name, make := range map[string]func() error{
			"writer fails": func() error {
				_, err := Create(t.Context(), dir, &failing{after: 3, err: gone}, o)
				return expect(err, gone)
			},
			"writer fails later": func() error {
				taking, err := Take(t.Context(), dir, &failing{err: gone}, Options{Clones: beside})
				must(t, err)
				_, err = taking.Finish(t.Context())
				return expect(err, gone)
			},
			"stopped while taking": func() error {
				ctx, cancel := context.WithCancelCause(t.Context())
				o := o
				o.step = func(_, path string) {
					if path == "holes" {
						cancel(stopped)
					}
				}
				_, err := Create(ctx, dir, io.Discard, o)
				return expect(err, stopped)
			},
			"stopped while finishing": func() error {
				taking, err := Take(t.Context(), dir, io.Discard, o)
				must(t, err)
				ctx, cancel := context.WithCancelCause(t.Context())
				cancel(stopped)
				_, err = taking.Finish(ctx)
				return expect(err, stopped)
			},
			"closed": func() error {
				taking, err := Take(t.Context(), dir, io.Discard, o)
				must(t, err)
				taking.Close()
				taking.Close()
				return nil
			},
		} {
			t.Run(name, func(t *testing.T) {
				must(t, make())
				nothingIn(t, beside, "_data")
				nothingIn(t, o.Scratch)
				if after := descriptors(t); after != before {
					t.Errorf("%d descriptors are open, %d were", after, before)
				}
			})
		}
	})
}

func expect(got, want error) error {
	if !errors.Is(got, want) {
		return fmt.Errorf("got %v, want %w", got, want)
	}
	return nil
}

func TestWhatIsWrittenBackIsClean(t *testing.T) {
	cloning(t, func(t *testing.T, dir, _ string) {
		path := filepath.Join(dir, "d/file")
		must(t, os.Mkdir(filepath.Dir(path), 0o755))
		noise(t, path, 8<<20)
		if dirtyPages(t, path) == 0 {
			t.Fatal("a file that was just written is clean")
		}
		must(t, WriteBack(t.Context(), dir, Options{}))
		if n := dirtyPages(t, path); n > 0 {
			t.Errorf("%d pages are dirty", n)
		}
	})
}

func dirtyPages(t testing.TB, path string) uint64 {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	var c unix.Cachestat_t
	if err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &c, 0); err == unix.ENOSYS {
		testenv.Missing(t, "cachestat(2)")
	} else {
		must(t, err)
	}
	return c.Dirty + c.Writeback
}

// A clone takes no name, so nothing of it can be left behind: this makes sure that the space comes back, too.
func TestSpaceOfClonesComesBack(t *testing.T) {
	cloning(t, func(t *testing.T, dir, beside string) {
		path := filepath.Join(dir, "file")
		noise(t, path, 64<<20)
		synced(t, dir)
		taking, err := Take(t.Context(), dir, io.Discard, Options{Clones: beside})
		must(t, err)
		must(t, os.Remove(path))
		synced(t, dir)
		held := used(t, beside)
		taking.Close()
		for late := time.After(time.Minute); used(t, beside) > held-32<<20; synced(t, dir) { // the kernel takes its time
			select {
			case <-time.After(20 * time.Millisecond):
			case <-late:
				t.Fatalf("%d bytes are in use, %d were before the clone went", used(t, beside), held)
			}
		}
	})
}

func synced(t testing.TB, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	must(t, err)
	defer f.Close()
	must(t, unix.Syncfs(int(f.Fd())))
}

func used(t testing.TB, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	must(t, unix.Statfs(dir, &st))
	return int64(st.Blocks-st.Bfree) * st.Bsize
}
