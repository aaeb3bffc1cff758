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
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDamageNamesTheFilesThatItHits(t *testing.T) {
	dir := t.TempDir()
	random := make([]byte, 3*frameSize)
	rand.NewChaCha8([32]byte{4}).Read(random)
	write(t, dir, map[string]string{"a/1": "one", "a/2": "two", "large": string(random), "z": "last"})
	whole, _ := archived(t, dir, Options{Level: Fastest})
	r := reader(t, whole)
	var frames []frame
	for f, err := range r.own.framesFrom(t.Context(), 0) {
		if err != nil {
			break
		}
		frames = append(frames, f)
	}
	if len(frames) != 5 {
		t.Fatalf("%d frames", len(frames))
	}
	for name, c := range map[string]struct {
		frames []int
		want   [][]string
	}{
		"small files at once": {[]int{0}, [][]string{{".", "a", "a/1", "a/2", "large"}}}, // of the large one its header
		"in a large file":     {[]int{2}, [][]string{{"large"}}},
		"in two places":       {[]int{1, 4}, [][]string{{"large"}, {"z"}}},
	} {
		t.Run(name, func(t *testing.T) {
			bad := bytes.Clone(whole)
			for _, i := range c.frames {
				bad[frames[i].place+int64(frames[i].stored)/2] ^= 1
			}
			var done int64
			damage, err := reader(t, bad).Verify(t.Context(), func(n int64) { done = n })
			must(t, err)
			var got [][]string
			for i, d := range damage {
				got = append(got, d.Paths)
				f := frames[c.frames[i]]
				if !errors.Is(d.Err, errDigest) || d.Offset != f.place || d.Length != int64(f.stored) || d.Entries != int64(len(d.Paths)) {
					t.Errorf("damage %+v", d)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error("paths (-want +got)\n", diff)
			}
			if done != r.Contents().Tar {
				t.Errorf("%d bytes done of %d", done, r.Contents().Tar)
			}
		})
	}
}

func TestDamageOfTheIndexDoesNotHideThatOfData(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": strings.Repeat("x", 2*frameSize)})
	bad, _ := archived(t, dir, Options{Level: None})
	entries := reader(t, bad).entryBlocks[0].place
	bad[frameSize/2] ^= 1
	bad[entries+20] ^= 1
	damage, err := reader(t, bad).Verify(t.Context(), nil)
	must(t, err)
	if len(damage) != 2 || damage[0].Offset != entries || damage[1].Entries != 0 {
		t.Errorf("damage %+v", damage)
	}
}

func TestAnUndamagedFileOfADamagedArchiveIsRead(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": strings.Repeat("x", 2*frameSize), "b": strings.Repeat("y", 2*frameSize)})
	bad, _ := archived(t, dir, Options{Level: None})
	bad[frameSize] ^= 1
	r := reader(t, bad)
	if got := readFile(t, r, "b"); got != strings.Repeat("y", 2*frameSize) {
		t.Error("the other file has other data")
	}
	f, err := r.OpenFile(t.Context(), "a")
	must(t, err)
	defer f.Close()
	if _, err := io.Copy(io.Discard, f); !errors.Is(err, errDigest) || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("damaged file: %v", err)
	}
	if err := r.Tar(t.Context(), io.Discard); !errors.Is(err, errDigest) {
		t.Errorf("tar of a damaged archive: %v", err)
	}
}

func TestReadingEndsWithItsSourceOrContext(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": strings.Repeat("x", 20*frameSize)})
	data, _ := archived(t, dir, Options{Level: None})
	gone, stopped := errors.New("target is gone"), errors.New("stopped")
	s := &stock{ReaderAt: bytes.NewReader(data)}
	fail := false
	r, err := Open(t.Context(), func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
		if from, err := s.source(ctx, off, n); !fail {
			return from, err
		}
		return io.NopCloser(io.MultiReader(bytes.NewReader(data[off:off+n/2]), &failing{err: gone})), nil
	}, int64(len(data)), ReaderOptions{})
	must(t, err)
	defer r.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	f, err := r.OpenFile(ctx, "a")
	must(t, err)
	cancel(stopped)
	if _, err := io.Copy(io.Discard, f); !errors.Is(err, stopped) {
		t.Errorf("after its context: %v", err)
	}
	must(t, f.Close())
	fail = true
	if err := r.Tar(t.Context(), io.Discard); !errors.Is(err, gone) {
		t.Errorf("tar from a source that fails: %v", err)
	}
	damage, err := r.Verify(t.Context(), nil)
	if _, unread := errors.AsType[*SourceError](err); !errors.Is(err, gone) || !unread || len(damage) > 0 {
		t.Errorf("verify with a source that fails: %v, %+v", err, damage)
	}
}

// TestASourceThatFailsIsNoDamage lets one request more succeed each time, until all do.
func TestASourceThatFailsIsNoDamage(t *testing.T) {
	data, _ := archived(t, many(t, 12_000), Options{Level: Fastest})
	for name, c := range map[string]struct {
		fail   error
		unread bool
	}{
		"nobody answers":     {errors.New("connection refused"), true},
		"cut off on the way": {io.ErrUnexpectedEOF, true},
		"archive is gone":    {fs.ErrNotExist, false},
	} {
		t.Run(name, func(t *testing.T) {
			good := 0
			for ; good < 100; good++ {
				damage, err := verifyWith(t, data, good, c.fail)
				if err == nil && len(damage) == 0 {
					break
				}
				if _, unread := errors.AsType[*SourceError](err); unread != c.unread || unread && len(damage) > 0 {
					t.Errorf("after %d requests: %v, %+v", good, err, damage)
				}
			}
			if good < 4 || good == 100 {
				t.Errorf("all is well after %d requests", good)
			}
		})
	}
}

// verifyWith verifies an archive of which so many requests succeed.
func verifyWith(t *testing.T, data []byte, good int, fail error) ([]Damage, error) {
	var requests atomic.Int64
	s := &stock{ReaderAt: bytes.NewReader(data)}
	r, err := Open(t.Context(), func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
		switch i := int(requests.Add(1)); {
		case i <= good:
			return s.source(ctx, off, n)
		case i%2 == 0:
			return nil, fail
		}
		return io.NopCloser(io.MultiReader(bytes.NewReader(data[off:off+n/2]), &failing{err: fail})), nil
	}, int64(len(data)), ReaderOptions{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.Verify(t.Context(), nil)
}

// TestSlicesOfTwoArchivesMakeOneTar puts an archive together by hand whose tar lies partly in another one.
func TestSlicesOfTwoArchivesMakeOneTar(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "1", "large": strings.Repeat("words ", frameSize), "z": "2"})
	base, _ := archived(t, dir, Options{Level: Fastest})
	plain, err := plainOf(t, base)
	must(t, err)
	leaning := leaningArchive(t, "base", base, plain, 5*frameSize/2)

	s := &stock{ReaderAt: bytes.NewReader(leaning)}
	open := func(other []byte) *Reader {
		r, err := Open(t.Context(), s.source, int64(len(leaning)), ReaderOptions{Archive: func(_ context.Context, l Lean) (Source, error) {
			if l != (Lean{"base", int64(len(base)), reader(t, base).Contents().Directory}) {
				t.Errorf("asked for %+v", l)
			}
			return (&stock{ReaderAt: bytes.NewReader(other)}).source, nil
		}})
		must(t, err)
		t.Cleanup(r.Close)
		return r
	}
	r := open(base)
	var tar bytes.Buffer
	must(t, r.Tar(t.Context(), &tar))
	if !bytes.Equal(tar.Bytes(), plain) {
		t.Error("tar is another one")
	}
	if damage, err := r.Verify(t.Context(), nil); err != nil || len(damage) > 0 {
		t.Errorf("verify: %v, %v", damage, err)
	}
	if got := readFile(t, r, "large"); got != strings.Repeat("words ", frameSize) {
		t.Error("file has other data")
	}
	bad := bytes.Clone(base)
	bad[reader(t, base).frameAt(t, 3*frameSize)+100] ^= 1
	damage, err := open(bad).Verify(t.Context(), nil)
	if err != nil || len(damage) != 1 || damage[0].Archive != "base" || !slices.Equal(damage[0].Paths, []string{"large"}) {
		t.Errorf("damage of the other archive: %+v, %v", damage, err)
	}
	write(t, dir, map[string]string{"a": "x"})
	other, _ := archived(t, dir, Options{Level: Fastest})
	if len(other) == len(base) {
		if err := open(other).Tar(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "another one") {
			t.Errorf("another archive of that name: %v", err)
		}
	}
}

// frameAt is where the frame lies that has such a plain offset.
func (r *Reader) frameAt(t testing.TB, at int64) int64 {
	for f, err := range r.own.framesFrom(t.Context(), at) {
		must(t, err)
		return f.place
	}
	return 0
}

// leaningArchive holds the plain bytes of base up to some offset itself, and leans on base, of this name, for those after it.
func leaningArchive(t testing.TB, name string, base, plain []byte, up int64) []byte {
	from := reader(t, base)
	x, err := newIndexWriter("")
	must(t, err)
	defer x.close()
	for e, err := range from.Entries(t.Context(), ".") {
		must(t, err)
		must(t, x.entry(&member{
			Entry: e.Entry, from: e.from, data: e.from + e.header, stored: e.stored, seen: seen{inode: e.Inode},
		}))
	}
	var buf bytes.Buffer
	out := &stored{to: &buf}
	framer, err := newFramer(Fastest, 1)
	must(t, err)
	for rest := plain[:up]; len(rest) > 0; {
		b := &block{plain: rest[:min(len(rest), frameSize)]}
		framer.frame(b)
		must(t, out.write(b.stored))
		must(t, x.frame(b))
		rest = rest[len(b.plain):]
	}
	x.leans = []lean{{Name: []byte(name), Size: int64(len(base)), Directory: from.own.trailer.digest}}
	must(t, x.slice(sliceRecord{Archive: 0, At: 0, Length: 100}))
	must(t, x.slice(sliceRecord{Archive: 1, At: 100, Length: 1000}))
	must(t, x.slice(sliceRecord{Archive: 0, At: 1100, Length: up - 1100}))
	must(t, x.slice(sliceRecord{Archive: 1, At: up, Length: int64(len(plain)) - up}))
	must(t, x.finish(t.Context(), out))
	return buf.Bytes()
}

func TestDiffIsWhatChanged(t *testing.T) {
	dir := t.TempDir()
	when := time.Unix(1_700_000_000, 5)
	files := map[string]string{"a": "1", "a-b": "1", "a/": "", "data": "1", "gone/x": "", "kind": "", "mode": "", "same": "", "time": "1"}
	delete(files, "a/")
	write(t, dir, files)
	must(t, os.Symlink("here", filepath.Join(dir, "link")))
	settle := func() {
		for _, p := range append(paths(t, dir), ".") {
			setTime(t, filepath.Join(dir, p), when)
		}
	}
	settle()
	before, _ := archived(t, dir, Options{})
	must(t, os.RemoveAll(filepath.Join(dir, "gone")))
	must(t, os.Remove(filepath.Join(dir, "kind")))
	must(t, os.Mkdir(filepath.Join(dir, "kind"), 0o644))
	must(t, os.Remove(filepath.Join(dir, "link")))
	must(t, os.Symlink("there", filepath.Join(dir, "link")))
	must(t, os.Chmod(filepath.Join(dir, "mode"), 0o600))
	write(t, dir, map[string]string{"data": "12", "new/y": ""})
	settle()
	setTime(t, filepath.Join(dir, "time"), when.Add(1))
	after, _ := archived(t, dir, Options{})
	want := []string{"data data", "gone removed", "gone/x removed", "kind kind", "link link", "mode mode", "new added", "new/y added", "time data,time"}
	diff := func(a, b []byte) (all []string) {
		for c, err := range Diff(t.Context(), reader(t, a), reader(t, b)) {
			must(t, err)
			if (c.Before == nil) != (c.What == Added) || (c.After == nil) != (c.What == Removed) {
				t.Errorf("change %+v", c)
			}
			all = append(all, c.Path+" "+c.What.String())
		}
		return all
	}
	if d := cmp.Diff(want, diff(before, after)); d != "" {
		t.Error("changes (-want +got)\n", d)
	}
	if same := diff(before, before); same != nil {
		t.Errorf("an archive differs from itself: %q", same)
	}
}
