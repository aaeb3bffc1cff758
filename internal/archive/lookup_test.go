package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/testenv"
)

// childrenOf lists a folder by its path, so many at a time.
func childrenOf(t testing.TB, r *Reader, path string, most int) (names []string) {
	t.Helper()
	folder, err := r.Stat(t.Context(), path)
	must(t, err)
	after := folder.Position()
	for {
		n := 0
		for e, err := range r.Children(t.Context(), folder, after) {
			must(t, err)
			if again, err := r.At(t.Context(), e.Position()); err != nil || again.Path != e.Path {
				t.Fatalf("%q is not where it was: %q, %v", e.Path, again.Path, err)
			}
			names, after = append(names, filepath.Base(e.Path)), e.Position()
			if n++; n == most {
				break
			}
		}
		if n < most {
			return names
		}
	}
}

// everywhere compares the children of each folder with those of the real one.
func everywhere(t testing.TB, r *Reader, dir string, most int) {
	t.Helper()
	for e, err := range r.Entries(t.Context(), ".") {
		must(t, err)
		if e.Kind != Folder {
			continue
		}
		entries, err := os.ReadDir(filepath.Join(dir, e.Path))
		must(t, err)
		var want []string
		for _, d := range entries {
			want = append(want, d.Name())
		}
		if diff := cmp.Diff(want, childrenOf(t, r, e.Path, most)); diff != "" {
			t.Errorf("%q, %d at a time (-want +got)\n%s", e.Path, most, diff)
		}
	}
}

func TestChildren(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "", "a-b/c": "", "b/c/d/e": "", "b/c.d": "", "b/z": "", "b.c": "", "z/\xff\n/x": ""})
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o755))
	data, _ := archived(t, dir, Options{})
	for _, most := range []int{1, 2, 100} {
		everywhere(t, reader(t, data), dir, most)
	}
}

func TestChildrenAmongManyBlocks(t *testing.T) {
	dir := many(t, 12_000)
	long := dir
	for range 12 { // keys of blocks are cut
		long = filepath.Join(long, strings.Repeat("l", 100))
	}
	must(t, os.MkdirAll(filepath.Join(long, "last"), 0o755))
	for i := range 3000 {
		must(t, os.WriteFile(filepath.Join(long, strings.Repeat("n", 100)+string(rune('a'+i%26))+strings.Repeat("x", i%90)), nil, 0o644))
	}
	data, _ := archived(t, dir, Options{})
	r := reader(t, data)
	if len(r.entryBlocks) < 4 {
		t.Fatalf("%d blocks of entries", len(r.entryBlocks))
	}
	everywhere(t, r, dir, 7)
}

// The top of a large tree is listed without what lies below.
func TestChildrenFetchLittle(t *testing.T) {
	dir := many(t, 30_000)
	write(t, dir, map[string]string{"zz": ""})
	must(t, os.Mkdir(filepath.Join(dir, "all"), 0o755))
	for d := range 300 {
		name := filepath.Base(filepath.Join(dir, "d")) + string([]byte{'0' + byte(d/100), '0' + byte(d/10%10), '0' + byte(d%10)})
		must(t, os.Rename(filepath.Join(dir, name), filepath.Join(dir, "all", name)))
	}
	data, _ := archived(t, dir, Options{})
	s := &stock{ReaderAt: bytes.NewReader(data)}
	r, err := Open(t.Context(), s.source, int64(len(data)), ReaderOptions{})
	must(t, err)
	defer r.Close()
	if diff := cmp.Diff([]string{"all", "zz"}, childrenOf(t, r, ".", 10)); diff != "" {
		t.Error(diff)
	}
	if s.requests > 4 {
		t.Errorf("%d requests, and the index has %d blocks of entries", s.requests, len(r.entryBlocks))
	}
}

func TestPositionsThatAreNone(t *testing.T) {
	data, _ := archived(t, many(t, 100), Options{})
	r := reader(t, data)
	for _, p := range []Position{{-1, 0}, {0, -1}, {0, 1 << 20}, {9, 0}} {
		if _, err := r.At(t.Context(), p); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: %v", p, err)
		}
	}
}

func TestReadAt(t *testing.T) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 5<<20+123)
	rand.NewChaCha8([32]byte{1}).Read(random)
	write(t, dir, map[string]string{"large": string(random), "small": "hello", "empty": ""})
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	must(t, err)
	for _, at := range []int64{1 << 20, 5<<20 + 4096, 20 << 20} {
		_, err := sparse.WriteAt(random[:70_000], at)
		must(t, err)
	}
	must(t, errors.Join(sparse.Truncate(30<<20), sparse.Close()))
	must(t, os.WriteFile(filepath.Join(dir, "hole"), nil, 0o644))
	must(t, os.Truncate(filepath.Join(dir, "hole"), 1<<20))
	data, _ := archived(t, dir, Options{Level: Fastest})
	r := reader(t, data)
	for _, name := range []string{"large", "small", "empty", "sparse", "hole"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		e, err := r.Stat(t.Context(), name)
		must(t, err)
		at := readerAt{t.Context(), r, e}
		got, err := io.ReadAll(io.NewSectionReader(at, 0, int64(len(want))+10))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		for range 200 {
			off, n := rng.Int64N(int64(len(want))+1), rng.IntN(300_000)
			p := make([]byte, n)
			got, err := at.ReadAt(p, off)
			if short := off+int64(n) > int64(len(want)); short != (err == io.EOF) && n > 0 || err != nil && err != io.EOF {
				t.Fatalf("%s: %d at %d: %v", name, n, off, err)
			}
			if !bytes.Equal(p[:got], want[off:min(off+int64(n), int64(len(want)))]) {
				t.Fatalf("%s: %d at %d: other data", name, n, off)
			}
		}
	}
}

type readerAt struct {
	ctx context.Context
	r   *Reader
	e   Indexed
}

func (a readerAt) ReadAt(p []byte, off int64) (int, error) { return a.r.ReadAt(a.ctx, a.e, p, off) }

// Of a large file only the frames are fetched that are read, each once for all who want it at the same time.
func TestReadAtFetchesOnce(t *testing.T) {
	dir := t.TempDir()
	random := make([]byte, 20<<20)
	rand.NewChaCha8([32]byte{1}).Read(random)
	write(t, dir, map[string]string{"large": string(random)})
	data, _ := archived(t, dir, Options{Level: Fastest})
	s := &stock{ReaderAt: bytes.NewReader(data)}
	r, err := Open(t.Context(), s.source, int64(len(data)), ReaderOptions{Cache: NewCache(8 << 20)})
	must(t, err)
	defer r.Close()
	e, err := r.Stat(t.Context(), "large")
	must(t, err)
	_, err = r.ReadAt(t.Context(), e, make([]byte, 1), 0) // which loads the index
	must(t, err)
	s.requests, s.bytes = 0, 0
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			p := make([]byte, 4096)
			_, err := r.ReadAt(t.Context(), e, p, int64(3+i%4*2)<<20+int64(i)) // apart, so that nobody reads on
			if err != nil || !bytes.Equal(p, random[(3+i%4*2)<<20+i:][:4096]) {
				t.Errorf("reader %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if s.requests != 4 || s.bytes > 4*maxStoredFrame {
		t.Errorf("%d requests for %d bytes", s.requests, s.bytes)
	}
}

// Who reads on gets several frames with one request, and never more than the file.
func TestReadAtReadsAhead(t *testing.T) {
	dir := t.TempDir()
	random := make([]byte, 20<<20)
	rand.NewChaCha8([32]byte{1}).Read(random)
	write(t, dir, map[string]string{"a": strings.Repeat("x", 1<<20), "large": string(random), "z": strings.Repeat("y", 9<<20)})
	data, _ := archived(t, dir, Options{Level: Fastest})
	s := &stock{ReaderAt: bytes.NewReader(data)}
	r, err := Open(t.Context(), s.source, int64(len(data)), ReaderOptions{Cache: NewCache(8 << 20)})
	must(t, err)
	defer r.Close()
	e, err := r.Stat(t.Context(), "large")
	must(t, err)
	s.requests, s.bytes = 0, 0
	got, err := io.ReadAll(io.NewSectionReader(readerAt{t.Context(), r, e}, 0, e.Size))
	if err != nil || !bytes.Equal(got, random) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if s.requests > 20/4+3 || s.bytes > 20*maxStoredFrame+1<<20 {
		t.Errorf("%d requests for %d bytes", s.requests, s.bytes)
	}
}

func TestACacheIsBounded(t *testing.T) {
	c := NewCache(100)
	fetched := 0
	get := func(n int64) {
		_, err := through(t.Context(), c, cacheKey{number: n}, func(int64) int64 { return 30 }, func() (int64, error) {
			fetched++
			return n, nil
		})
		must(t, err)
	}
	for range 2 {
		for n := range int64(3) {
			get(n)
		}
	}
	get(0)
	get(3) // for which 1 has to go
	get(0)
	get(2)
	if fetched != 4 || c.held != 90 || len(c.known) != 3 {
		t.Errorf("%d fetched, %d bytes of %d held", fetched, c.held, len(c.known))
	}
	if get(1); fetched != 5 {
		t.Error("what was to go is there")
	}
}

// Who gives up does not take along others who wait for the same, and errors are not kept.
func TestAFetchThatIsGivenUpIsTakenOver(t *testing.T) {
	c := NewCache(100)
	ctx, cancel := context.WithCancel(t.Context())
	began := make(chan struct{})
	var fetched atomic.Int32
	var both sync.WaitGroup
	both.Go(func() {
		_, err := through(ctx, c, cacheKey{}, func(int) int64 { return 1 }, func() (int, error) {
			close(began)
			<-ctx.Done()
			return 0, ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	<-began
	both.Go(func() {
		v, err := through(t.Context(), c, cacheKey{}, func(int) int64 { return 1 }, func() (int, error) {
			fetched.Add(1)
			return 42, nil
		})
		if v != 42 || err != nil {
			t.Error(v, err)
		}
	})
	cancel()
	both.Wait()
	if fetched.Load() != 1 {
		t.Error(fetched.Load())
	}
	bad := errors.New("bad")
	for range 2 {
		_, err := through(t.Context(), c, cacheKey{number: 1}, func(int) int64 { return 1 }, func() (int, error) { return 0, bad })
		if err != bad {
			t.Error(err)
		}
	}
}

// Damage hits the bytes that it is in, and no others.
func TestReadAtOfADamagedFrame(t *testing.T) {
	dir := t.TempDir()
	random := make([]byte, 4<<20)
	rand.NewChaCha8([32]byte{1}).Read(random)
	write(t, dir, map[string]string{"large": string(random), "small": "hello"})
	data, _ := archived(t, dir, Options{Level: Fastest})
	data[bytes.Index(data, random[1<<20:1<<20+64])] ^= 1
	r := reader(t, data)
	e, err := r.Stat(t.Context(), "large")
	must(t, err)
	for i := range int64(4) {
		p := make([]byte, 1<<20)
		_, err := r.ReadAt(t.Context(), e, p, i<<20)
		if (i == 1) != errors.Is(err, ErrDamaged) || i != 1 && !bytes.Equal(p, random[i<<20:][:1<<20]) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func TestXattrs(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"with": "1", "without": "2"})
	if err := unix.Setxattr(filepath.Join(dir, "with"), "user.color", []byte("bl\x00ue"), 0); err != nil {
		testenv.Missing(t, "extended attributes at "+dir, err.Error())
	}
	data, _ := archived(t, dir, Options{})
	r := reader(t, data)
	for name, want := range map[string]map[string]string{"with": {"user.color": "bl\x00ue"}, "without": {}, ".": {}} {
		e, err := r.Stat(t.Context(), name)
		must(t, err)
		got, err := r.Xattrs(t.Context(), e)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
