package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/testenv"
)

func splitterOf(t testing.TB, data []byte) *splitter {
	c, err := newCodec()
	must(t, err)
	d, err := newDecoder(1)
	must(t, err)
	t.Cleanup(d.Close)
	return &splitter{in: bufio.NewReader(bytes.NewReader(data)), chain: newChain(c, d)}
}

// ends are the offsets at which data frames of an archive end.
func ends(t testing.TB, data []byte) []int {
	t.Helper()
	var all []int
	l := newLine(1)
	s := splitterOf(t, data)
	for {
		b, err := l.take(t.Context())
		must(t, err)
		if err := s.next(b); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, int(s.chain.at))
		l.release(b)
	}
}

func TestACutOrLengthenedArchiveIsAnError(t *testing.T) {
	src := t.TempDir()
	write(t, src, map[string]string{"a": "1", "large": strings.Repeat("x", 2*frameSize+10), "z": "2"})
	whole, _ := archived(t, src, Options{Level: Fastest})
	read := func(data []byte) error {
		listing := List(t.Context(), bytes.NewReader(data), [32]byte{}, nil, func(Entry) error { return nil })
		_, extracting := Extract(t.Context(), bytes.NewReader(data), t.TempDir(), ExtractOptions{})
		if (listing == nil) != (extracting == nil) {
			t.Errorf("listing gives %v, extracting %v", listing, extracting)
		}
		return extracting
	}
	must(t, read(whole))
	frames := ends(t, whole)
	index := frames[len(frames)-1] // where it begins
	if len(frames) < 5 || index >= len(whole) {
		t.Fatalf("%d frames, up to %d of %d bytes", len(frames), index, len(whole))
	}
	for _, end := range append([]int{0}, frames[:len(frames)-1]...) {
		for _, cut := range []int{end, end + 1, end + 6, end + 20} {
			if err := read(whole[:cut]); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("cut at %d of %d: %v", cut, len(whole), err)
			}
		}
	}
	for cut := index + 1; cut < len(whole); cut++ {
		if err := read(whole[:cut]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d of %d, in the index: %v", cut, len(whole), err)
		}
	}
	skippable := "\x5a\x2a\x4d\x18\x03\x00\x00\x00abc"
	bare := whole[:index] // as archives were before they had an index
	must(t, read(bare))
	must(t, read(slices.Concat(bare, []byte(skippable))))
	must(t, read(slices.Concat([]byte(skippable), bare, []byte(skippable), []byte(skippable))))
	for name, tail := range map[string][]byte{
		"zeros": make([]byte, 100), "text": []byte("garbage that goes on for a while"), "another archive": whole,
		"a frame of zeros": framed(make([]byte, tarBlock)), "a skippable frame cut off": []byte(skippable[:9]),
		"a skippable frame": []byte(skippable), "the trailer once more": whole[len(whole)-trailerSize:],
	} {
		if err := read(slices.Concat(whole, tail)); err == nil {
			t.Errorf("%s after the end is not noticed", name)
		}
	}
}

// What was changed on purpose, with each checksum of zstd made right again, is betrayed by the digests that the manifest vouches for.
func TestAnotherArchiveIsNotTheOneThatWasWritten(t *testing.T) {
	src := t.TempDir()
	write(t, src, map[string]string{"a": "1", "large": strings.Repeat("x", 2*frameSize+10), "z": "2"})
	whole, sum := archived(t, src, Options{Level: None})
	other, otherSum := archived(t, t.TempDir(), Options{})
	frames := ends(t, whole)
	forged := slices.Clone(whole)
	copy(forged[frames[0]:frames[1]], framed(bytes.Repeat([]byte("y"), frameSize)))
	for name, c := range map[string]struct {
		data      []byte
		directory [32]byte
		sound     bool
	}{
		"the archive":                           {whole, sum.Directory, true},
		"any archive":                           {whole, [32]byte{}, true},
		"another archive":                       {other, sum.Directory, false},
		"that of another manifest":              {whole, otherSum.Directory, false},
		"an archive that has lost its index":    {whole[:frames[len(frames)-1]], sum.Directory, false},
		"an archive without an index":           {whole[:frames[len(frames)-1]], [32]byte{}, true},
		"other contents":                        {forged, sum.Directory, false},
		"other contents, of whatever directory": {forged, [32]byte{}, false},
	} {
		dst := t.TempDir()
		_, extracting := Extract(t.Context(), bytes.NewReader(c.data), dst, ExtractOptions{Directory: c.directory})
		listing := List(t.Context(), bytes.NewReader(c.data), c.directory, nil, func(Entry) error { return nil })
		for what, err := range map[string]error{"extracting": extracting, "listing": listing} {
			if (err == nil) != c.sound || err != nil && !errors.Is(err, ErrDamaged) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
}

func TestNoDamageChangesWhatIsRead(t *testing.T) {
	src := t.TempDir()
	write(t, src, map[string]string{"a": "1", "b": strings.Repeat("words and words ", 20000)})
	whole, _ := archived(t, src, Options{Level: Fastest})
	want, err := plainOf(t, whole)
	must(t, err)
	for i := range whole {
		bad := slices.Clone(whole)
		bad[i] ^= 0x10
		// Some bits of a zstd frame mean nothing.
		if got, err := plainOf(t, bad); err == nil && !bytes.Equal(got, want) {
			t.Errorf("a flipped bit in byte %d of %d changes the data without an error", i, len(whole))
		}
	}
}

// plainOf is the plain stream of an archive.
func plainOf(t testing.TB, data []byte) (plain []byte, err error) {
	err = unpack(t.Context(), bytes.NewReader(data), proof{}, func(_ context.Context, r *tarReader) error {
		for {
			piece, err := r.plain.some(frameSize)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			plain = append(plain, piece...)
		}
	})
	return plain, err
}

func TestForeignFormatsAreRefused(t *testing.T) {
	plain := tarOf(t, file("a", "1"))
	edit := func(f func(b []byte)) []byte {
		b := slices.Clone(plain)
		f(b)
		octal(fieldChecksum.of(b)[:7], checksum(b))
		return b
	}
	for name, c := range map[string]struct {
		plain []byte
		want  string
	}{
		"GNU":              {edit(func(b []byte) { copy(fieldMagic.of(b), "ustar  \x00") }), "not pax"},
		"checksum":         {slices.Replace(slices.Clone(plain), 0, 1, 'b'), "wrong checksum"},
		"unknown type":     {edit(func(b []byte) { fieldType.of(b)[0] = 'S' }), "unknown type"},
		"global records":   {edit(func(b []byte) { fieldType.of(b)[0] = 'g' }), "unknown type"},
		"no number":        {edit(func(b []byte) { copy(fieldUID.of(b), "99") }), "no octal number"},
		"base 256":         {edit(func(b []byte) { fieldSize.of(b)[0] = 0x80 }), "no octal number"},
		"folder with data": {edit(func(b []byte) { fieldType.of(b)[0] = '5' }), "a folder with data"},
		"one zero block":   {append(slices.Clone(plain[:1024]), append(make([]byte, 512), plain...)...), "a zero block alone"},
		"huge records":     {edit(func(b []byte) { fieldType.of(b)[0] = 'x'; copy(fieldSize.of(b), "77777777777") }), "bytes of them"},
		"sparse":           {pax(t, record("GNU.sparse.realsize", "9999999")), "not in GNU's form"},
		"no record":        {pax(t, "nonsense"), "begins no record"},
		"long record":      {pax(t, "99 path=x\n"), "begins no record"},
		"short record":     {pax(t, "3 path=x\n"), "begins no record"},
		"negative size":    {pax(t, "11 size=-1\n"), "not a number"},
		"zero in a path":   {pax(t, "12 path=a\x00b\n"), "malformed name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Extract(t.Context(), bytes.NewReader(framed(c.plain)), t.TempDir(), ExtractOptions{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// pax is a tar of one file with such records.
func pax(t testing.TB, records string) []byte {
	h := headers{}
	h.block(member{Entry: Entry{Kind: paxType, Size: int64(len(records))}}, paxName, "")
	out := append(h.out, records...)
	out = append(out, make([]byte, padding(int64(len(records))))...)
	return append(out, tarOf(t, file("a", "1"))...)
}

func record(key, value string) string {
	var h headers
	h.record(key, value)
	return string(h.records)
}

func TestAFullDiskNamesTheFile(t *testing.T) {
	testenv.Root(t)
	dir, src := t.TempDir(), t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		testenv.Missing(t, "leave to mount", err.Error())
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, 0)) })
	write(t, src, map[string]string{"large": strings.Repeat("x", 3<<20)})
	data, _ := archived(t, src, Options{Level: Fastest})
	_, err := Extract(t.Context(), bytes.NewReader(data), dir, ExtractOptions{})
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), `"large"`) {
		t.Errorf("got %v", err)
	}
}

func TestManyThingsSkippedAreCountedAndTheFirstListed(t *testing.T) {
	var all []tar.Header
	for range 1500 {
		all = append(all, link(tar.TypeLink, "h", "nothing"))
	}
	rep, err := Extract(t.Context(), bytes.NewReader(framed(tarOf(t, all...))), t.TempDir(), ExtractOptions{})
	must(t, err)
	if len(rep.Skipped) != 1000 || rep.SkippedTotal != 1500 || rep.Entries != 0 {
		t.Errorf("%d listed of %d, %d entries", len(rep.Skipped), rep.SkippedTotal, rep.Entries)
	}
}

func FuzzExtract(f *testing.F) {
	f.Add(tarOf(f, folder("d"), file("d/f", "data"), link(tar.TypeSymlink, "l", ".."), link(tar.TypeLink, "h", "d/f")))
	f.Add(tarOf(f, link(tar.TypeSymlink, "l", "../canary"), file("l", "x"), folder("l"), file("l/x", "y")))
	f.Add(pax(f, record("mtime", "1700000000.123456789")))
	f.Add(pax(f, record("SCHILY.xattr.user.a%3Db", "value")))
	f.Fuzz(func(t *testing.T, plain []byte) {
		work := t.TempDir()
		dir := filepath.Join(work, "dir")
		write(t, work, map[string]string{"canary": "sings", "dir/inside": "x"})
		outside := describe(t, work)
		_, _ = Extract(t.Context(), bytes.NewReader(framed(plain)), dir, ExtractOptions{}) // an error is as good as none
		// What is restored may be closed to others than root.
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, _ error) error {
			if d != nil && d.IsDir() {
				return os.Chmod(path, 0o700)
			}
			return nil
		})
		left := describe(t, work)
		inside := func(path, _ string) bool { return path == "dir" || strings.HasPrefix(path, "dir/") }
		maps.DeleteFunc(outside, inside)
		maps.DeleteFunc(left, inside)
		if diff := cmp.Diff(outside, left); diff != "" {
			t.Error("outside (-before +after)\n", diff)
		}
	})
}

func FuzzRead(f *testing.F) {
	src := f.TempDir()
	write(f, src, map[string]string{"a": "data", "b/c": strings.Repeat("x", 5000)})
	var out bytes.Buffer
	if _, err := Create(f.Context(), src, &out, Options{Level: Fastest}); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Add(framed(make([]byte, 2*tarBlock)))
	f.Fuzz(func(t *testing.T, stored []byte) {
		_ = List(t.Context(), bytes.NewReader(stored), [32]byte{}, nil, func(e Entry) error {
			if filepath.IsAbs(e.Path) || !filepath.IsLocal(e.Path) || e.Size < 0 {
				t.Errorf("entry %+v", e)
			}
			return nil
		})
	})
}
