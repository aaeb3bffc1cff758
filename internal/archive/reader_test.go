package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// stock is an archive in memory or in a file that counts what is asked of it.
type stock struct {
	io.ReaderAt
	mu       sync.Mutex
	requests int
	bytes    int64
}

func (s *stock) source(_ context.Context, off, n int64) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.bytes += n
	return io.NopCloser(io.NewSectionReader(s, off, n)), nil
}

// reader opens an archive in memory.
func reader(t testing.TB, data []byte) *Reader {
	t.Helper()
	s := &stock{ReaderAt: bytes.NewReader(data)}
	r, err := Open(t.Context(), s.source, int64(len(data)), ReaderOptions{})
	must(t, err)
	t.Cleanup(r.Close)
	return r
}

// listed are the entries below a path.
func listed(t testing.TB, r *Reader, under string) []Entry {
	t.Helper()
	var all []Entry
	for e, err := range r.Entries(t.Context(), under) {
		must(t, err)
		all = append(all, e.Entry)
	}
	return all
}

func readFile(t testing.TB, r *Reader, name string) string {
	t.Helper()
	f, err := r.OpenFile(t.Context(), name)
	must(t, err)
	text, err := io.ReadAll(f)
	must(t, errors.Join(err, f.Close()))
	return string(text)
}

// agree checks that what a reader gives of an archive is what its stream does.
func agree(t testing.TB, dir string, data []byte) {
	t.Helper()
	r := reader(t, data)
	var want []Entry
	must(t, List(t.Context(), bytes.NewReader(data), [32]byte{}, nil, func(e Entry) error {
		want = append(want, e)
		return nil
	}))
	got := listed(t, r, ".")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("entries (-stream +index)\n", diff)
	}
	for _, e := range got {
		if e.Kind == File {
			text, err := os.ReadFile(filepath.Join(dir, e.Path))
			must(t, err)
			if readFile(t, r, e.Path) != string(text) {
				t.Errorf("%q has other data", e.Path)
			}
		}
	}
	plain, err := plainOf(t, data)
	must(t, err)
	var tar bytes.Buffer
	must(t, r.Tar(t.Context(), &tar))
	if !bytes.Equal(tar.Bytes(), plain) {
		t.Errorf("a tar of %d bytes, not the one of %d", tar.Len(), len(plain))
	}
	damage, err := r.Verify(t.Context(), nil)
	if err != nil || len(damage) > 0 {
		t.Errorf("verify: %v, %v", damage, err)
	}
}

func TestAReaderAgreesWithTheStream(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"a": "1", "a-b/c": "2", "a.b": "", "d/e/f": strings.Repeat("x", 3000), "large": strings.Repeat("words ", frameSize/2),
		"d/\xff\n": "odd", "even": strings.Repeat("y", frameSize),
	})
	must(t, os.Truncate(filepath.Join(dir, "a.b"), 3<<20))
	must(t, os.Link(filepath.Join(dir, "large"), filepath.Join(dir, "link")))
	must(t, os.Symlink("a", filepath.Join(dir, "sym")))
	for _, level := range []Level{None, Fastest} {
		data, _ := archived(t, dir, Options{Level: level})
		agree(t, dir, data)
	}
}

func TestRandomTreesAgree(t *testing.T) {
	sizes := rapid.SampledFrom([]int{0, 1, 511, 512, 513, frameSize - 513, frameSize, frameSize + 1})
	names := rapid.SampledFrom([]string{"a", "b", "a-b", "a.b", "\xff", "\n", strings.Repeat("l", 200)})
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		must(t, err)
		defer os.RemoveAll(dir)
		for i := range rapid.IntRange(0, 10).Draw(rt, "files") {
			path := filepath.Join(dir, names.Draw(rt, "folder"), names.Draw(rt, "sub"), names.Draw(rt, "name"))
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			data := make([]byte, sizes.Draw(rt, "size"))
			rand.NewChaCha8([32]byte{byte(i)}).Read(data)
			must(t, os.WriteFile(path, data, 0o644))
		}
		data, _ := archived(t, dir, Options{Level: Fastest, Workers: 2})
		agree(t, dir, data)
	})
}

// many makes a folder of so many small files, enough for several index blocks.
func many(t testing.TB, n int) string {
	dir := t.TempDir()
	for d := range n / 100 {
		sub := filepath.Join(dir, fmt.Sprintf("d%03d", d))
		must(t, os.Mkdir(sub, 0o755))
		for i := range 100 {
			must(t, os.WriteFile(filepath.Join(sub, fmt.Sprintf("f%02d", i)), []byte(fmt.Sprint(d, i)), 0o644))
		}
	}
	return dir
}

func TestAPathIsFoundAmongManyBlocks(t *testing.T) {
	dir := many(t, 12_000)
	data, sum := archived(t, dir, Options{Level: Fastest})
	s := &stock{ReaderAt: bytes.NewReader(data)}
	r, err := Open(t.Context(), s.source, int64(len(data)), ReaderOptions{})
	must(t, err)
	defer r.Close()
	if len(r.entryBlocks) < 4 {
		t.Fatalf("%d blocks of entries", len(r.entryBlocks))
	}
	if got := int64(len(listed(t, r, "."))); got != sum.Entries {
		t.Errorf("%d entries of %d", got, sum.Entries)
	}
	for d := range 120 {
		folder := fmt.Sprintf("d%03d", d)
		if got := listed(t, r, folder); len(got) != 101 || got[0].Path != folder || got[100].Path != folder+"/f99" {
			t.Fatalf("%s: %d entries", folder, len(got))
		}
		s.requests = 0
		if got := readFile(t, r, folder+"/f42"); got != fmt.Sprint(d, 42) {
			t.Errorf("%s/f42 has %q", folder, got)
		}
		if s.requests > 3 {
			t.Errorf("%d requests for a file", s.requests)
		}
		for _, name := range []string{folder + "/f420", folder + "/", folder + "/f42/x", folder + "-", "d"} {
			_, err := r.Stat(t.Context(), name)
			if want := name == folder+"/"; want != (err == nil) || !want && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}

func TestLookingUp(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "data", "d/x": "", "a.b": ""})
	must(t, os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "z")))
	data, _ := archived(t, dir, Options{})
	r := reader(t, data)
	if e, err := r.Stat(t.Context(), "./z"); err != nil || e.Path != "z" || e.Kind != File || e.Size != 4 || e.Inode == 0 || e.ChangeTime.IsZero() {
		t.Errorf("hard link: %+v, %v", e, err)
	}
	if got := readFile(t, r, "z"); got != "data" {
		t.Errorf("hard link has %q", got)
	}
	for name, want := range map[string]error{
		"d": fs.ErrInvalid, "nothing": fs.ErrNotExist, "d/y": fs.ErrNotExist, "/a": fs.ErrInvalid, "../a": fs.ErrInvalid, "": fs.ErrInvalid,
	} {
		if _, err := r.OpenFile(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for under, want := range map[string]int{".": 6, "": 6, "d": 2, "a": 1, "d/x/y": 0, "b": 0, "/": -1, "..": -1} {
		n := 0
		for _, err := range r.Entries(t.Context(), under) {
			if n++; err != nil {
				n = -1
			}
		}
		if n != want {
			t.Errorf("under %q: %d entries, want %d", under, n, want)
		}
	}
}

func TestASmallFileCostsFewRequests(t *testing.T) {
	dir := many(t, 5000)
	random := make([]byte, 40<<20)
	rand.NewChaCha8([32]byte{9}).Read(random)
	write(t, dir, map[string]string{"d010/large": string(random), "d020/wanted": strings.Repeat("8 KiB...", 1024)})
	must(t, os.Link(filepath.Join(dir, "d020/wanted"), filepath.Join(dir, "linked")))
	data, _ := archived(t, dir, Options{Level: Fastest})
	for _, name := range []string{"d020/wanted", "linked"} {
		s := &stock{ReaderAt: bytes.NewReader(data)}
		r, err := Open(t.Context(), s.source, int64(len(data)), ReaderOptions{})
		must(t, err)
		if got := readFile(t, r, name); len(got) != 8<<10 {
			t.Errorf("%d bytes", len(got))
		}
		r.Close()
		if s.requests > 5 || s.bytes > 4<<20 {
			t.Errorf("%s: %d requests for %d bytes", name, s.requests, s.bytes)
		}
	}
}

func TestATailThatIsCutOrDamagedIsAnError(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "1", "b/c": strings.Repeat("x", 1000)})
	data, _ := archived(t, dir, Options{Level: Fastest})
	open := func(data []byte) error {
		s := &stock{ReaderAt: bytes.NewReader(data)}
		r, err := Open(t.Context(), s.source, int64(len(data)), ReaderOptions{})
		if err != nil {
			return err
		}
		defer r.Close()
		for _, err := range r.Entries(t.Context(), ".") {
			if err != nil {
				return err
			}
		}
		damage, err := r.Verify(t.Context(), nil)
		for _, d := range damage {
			err = errors.Join(err, d.Err)
		}
		return err
	}
	must(t, open(data))
	for cut := range data {
		if open(data[:cut]) == nil {
			t.Errorf("cut at %d of %d is not noticed", cut, len(data))
		}
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1 << (i % 8)
		if open(bad) == nil {
			t.Errorf("a flipped bit in byte %d of %d is not noticed", i, len(data))
		}
	}
}
