package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/testenv"
)

// makeGolden writes the golden archive of a version of the format that has none yet. Those that are there stay as they are.
var makeGolden = flag.Bool("golden", false, "make testdata/golden-v1.tar.zst")

func golden(ending string) string { return filepath.Join("testdata", "golden-v1."+ending) }

// TestTheGoldenArchiveStaysReadable reads an archive that was made when the format was: what is on somebody's disk must be readable by
// every later version.
func TestTheGoldenArchiveStaysReadable(t *testing.T) {
	if *makeGolden {
		writeGolden(t)
	}
	data, err := os.ReadFile(golden("tar.zst"))
	must(t, err)
	want, err := os.ReadFile(golden("txt"))
	must(t, err)
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(goldenListing(t, data), "\n")); diff != "" {
		t.Error("listing (-recorded +now)\n", diff)
	}
	damage, err := reader(t, data).Verify(t.Context(), nil)
	if err != nil || len(damage) > 0 {
		t.Errorf("verify: %v, %v", damage, err)
	}
	n := 0
	must(t, List(t.Context(), bytes.NewReader(data), [32]byte{}, nil, func(Entry) error {
		n++
		return nil
	}))
	if lines := strings.Count(string(want), "\n"); n != lines {
		t.Errorf("the stream has %d entries, recorded are %d", n, lines)
	}
}

// leaningBase is what the golden archive that leans on another calls that one.
const leaningBase = "20261101T030000Z-00000001"

// TestTheGoldenLeaningArchiveStaysReadable has an archive and one that leans on it, which tests of other packages read, too.
func TestTheGoldenLeaningArchiveStaysReadable(t *testing.T) {
	whole, leaning := filepath.Join("testdata", "leaning-base.tar.zst"), filepath.Join("testdata", "leaning.tar.zst")
	if *makeGolden {
		dir := t.TempDir()
		write(t, dir, map[string]string{"a/first": "one", "large": strings.Repeat("words of a large file. ", 90_000), "z": "last"})
		data, _ := archived(t, dir, Options{Level: Default})
		plain, err := plainOf(t, data)
		must(t, err)
		must(t, os.WriteFile(whole, data, 0o644))
		must(t, os.WriteFile(leaning, leaningArchive(t, leaningBase, data, plain, 3000), 0o644))
	}
	base, err := os.ReadFile(whole)
	must(t, err)
	data, err := os.ReadFile(leaning)
	must(t, err)
	s := &stock{ReaderAt: bytes.NewReader(data)}
	r, err := Open(t.Context(), s.source, int64(len(data)), ReaderOptions{Archive: func(_ context.Context, l Lean) (Source, error) {
		if want := (Lean{leaningBase, int64(len(base)), reader(t, base).Contents().Directory}); l != want {
			t.Errorf("it leans on %+v, not %+v", l, want)
		}
		return (&stock{ReaderAt: bytes.NewReader(base)}).source, nil
	}})
	must(t, err)
	defer r.Close()
	damage, err := r.Verify(t.Context(), nil)
	if err != nil || len(damage) > 0 {
		t.Errorf("verify: %v, %v", damage, err)
	}
	var stream, want, got bytes.Buffer
	must(t, r.WriteWhole(t.Context(), &stream))
	must(t, List(t.Context(), &stream, [32]byte{}, nil, func(e Entry) error {
		fmt.Fprintln(&got, e)
		return nil
	}))
	must(t, List(t.Context(), bytes.NewReader(base), [32]byte{}, nil, func(e Entry) error {
		fmt.Fprintln(&want, e)
		return nil
	}))
	if diff := cmp.Diff(want.String(), got.String()); diff != "" {
		t.Error("entries of the whole (-base +stream)\n", diff)
	}
}

// goldenListing is one line for each entry with all that the index says, and a digest of the data.
func goldenListing(t testing.TB, data []byte) string {
	var out strings.Builder
	r := reader(t, data)
	for e, err := range r.Entries(t.Context(), ".") {
		must(t, err)
		fmt.Fprintf(&out, "%q %v %o %d:%d size %d stored %d at %d+%d mtime %s ctime %s btime %s device %x inode %d rdev %x",
			e.Path, e.Kind, e.Mode, e.UID, e.GID, e.Size, e.stored, e.from, e.header, stampOf(e.ModTime), stampOf(e.ChangeTime),
			stampOf(e.BirthTime), e.Device, e.Inode, e.Rdev)
		if e.Linkname != "" {
			fmt.Fprintf(&out, " link %q", e.Linkname)
		}
		if e.Kind == File {
			fmt.Fprintf(&out, " sparse %v data %x", e.Sparse, sha256.Sum256([]byte(readFile(t, r, e.Path))))
		}
		out.WriteByte('\n')
	}
	return out.String()
}

func stampOf(t time.Time) string { return t.Format(time.RFC3339Nano) }

func writeGolden(t testing.TB) {
	testenv.Root(t)
	if _, err := os.Stat(golden("tar.zst")); err == nil {
		t.Fatal("a golden archive is never made again")
	}
	dir := everything(t)
	write(t, dir, map[string]string{
		"large":   strings.Repeat("a large file of words that compress well. ", 60_000),
		"exactly": strings.Repeat("x", frameSize),
	})
	must(t, os.WriteFile(filepath.Join(dir, "holes"), []byte("begins"), 0o644))
	f, err := os.OpenFile(filepath.Join(dir, "holes"), os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("in the middle"), 5<<20)
	must(t, err)
	must(t, f.Truncate(64<<20))
	must(t, f.Close())
	must(t, unix.Truncate(filepath.Join(dir, "empty"), 0))
	data, _ := archived(t, dir, Options{Level: Default})
	must(t, os.MkdirAll("testdata", 0o755))
	must(t, os.WriteFile(golden("tar.zst"), data, 0o644))
	must(t, os.WriteFile(golden("txt"), []byte(goldenListing(t, data)), 0o644))
}
