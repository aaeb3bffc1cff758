package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/backupd/backupd/internal/testenv"
)

// sparse makes a file of a size with data only at some offsets, each of 4 KiB unless it is cut off by the end.
func sparse(t testing.TB, path string, size int64, at ...int64) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	for _, at := range at {
		_, err := f.WriteAt(bytes.Repeat([]byte(fmt.Sprintf("%15d.", at)), 256), at)
		must(t, err)
	}
	must(t, f.Truncate(size))
	must(t, f.Close())
}

// layout is where a file has data, as its file system says.
func layout(t testing.TB, path string) segments {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	st, err := stat(int(f.Fd()), "")
	must(t, err)
	all, err := holes(int(f.Fd()), &st)
	must(t, err)
	return all
}

func TestHolesComeBackAsHoles(t *testing.T) {
	const tib = 1 << 40
	for name, c := range map[string]struct {
		size int64
		at   []int64
	}{
		"nothing but a hole":      {10 << 20, nil},
		"a hole before the end":   {8192, []int64{4096}},
		"a hole at the end":       {1<<20 + 1, []int64{0}},
		"data in many places":     {64 << 20, []int64{4096, 1 << 20, 5<<20 + 8192, 63 << 20}},
		"data around frames":      {4 << 20, []int64{1<<20 - 4096, 1 << 20, 2<<20 - 4096, 2 << 20}},
		"an end within a block":   {20_001, []int64{16384}},
		"a tebibyte, nearly none": {tib, []int64{1 << 30, tib / 2, tib - 4096}},
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := t.TempDir(), t.TempDir()
			from, to := filepath.Join(src, "file"), filepath.Join(dst, "file")
			sparse(t, from, c.size, c.at...)
			want := layout(t, from)
			if want == nil {
				testenv.Missing(t, "a file system with holes", src)
			}
			data, sum := archived(t, src, Options{})
			if len(data) > 64<<10 || sum.Bytes > int64(len(c.at))<<12 {
				t.Errorf("%d bytes of data take %d", sum.Bytes, len(data))
			}
			_, err := Extract(t.Context(), bytes.NewReader(data), dst, ExtractOptions{})
			must(t, err)
			if got := layout(t, to); !slices.Equal(got, want) {
				t.Errorf("data at %v, want %v", got, want)
			}
			f, err := os.Open(to)
			must(t, err)
			defer f.Close()
			if st, err := f.Stat(); err != nil || st.Size() != c.size {
				t.Errorf("%d bytes, %v", st.Size(), err)
			}
			for _, at := range c.at {
				piece := make([]byte, min(4096, c.size-at))
				_, err := f.ReadAt(piece, at)
				must(t, err)
				if want := fmt.Sprintf("%15d.", at); !strings.HasPrefix(string(piece), want) {
					t.Errorf("at %d there is %q", at, piece[:16])
				}
			}
		})
	}
}

func TestWhatIsAHoleIsDecidedBeforeReading(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(path string) error
		resized int64
		second  byte // of the segment at 1 MiB
	}{
		"filled":   {func(p string) error { return writeAt(p, 4<<20, "new") }, 0, ' '},
		"cut off":  {func(p string) error { return os.Truncate(p, 100) }, 1, 0},
		"emptied":  {func(p string) error { return os.Truncate(p, 0) }, 1, 0},
		"extended": {func(p string) error { return os.Truncate(p, 9<<20) }, 1, ' '},
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := t.TempDir(), t.TempDir()
			path := filepath.Join(src, "file")
			sparse(t, path, 8<<20, 0, 1<<20)
			data, sum := archived(t, src, Options{step: func(when, what string) {
				if when == "read" && what == "file" {
					must(t, c.change(path))
				}
			}})
			_, err := Extract(t.Context(), bytes.NewReader(data), dst, ExtractOptions{})
			must(t, err)
			got, err := os.ReadFile(filepath.Join(dst, "file"))
			must(t, err)
			if sum.Resized != c.resized || len(got) != 8<<20 || got[1<<20] != c.second || got[4<<20] != 0 {
				t.Errorf("resized %d, %d bytes, then %q, %q", sum.Resized, len(got), got[1<<20], got[4<<20])
			}
		})
	}
}

func writeAt(path string, at int64, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(text), at)
	return errors.Join(err, f.Close())
}

func TestOfTooManyHolesTheSmallestAreGivenUp(t *testing.T) {
	f := finder{most: 10}
	var want int64
	for i := range int64(1000) {
		at := i * 8192
		if i == 500 {
			at += 1 << 20
		}
		if i > 500 {
			at += 2 << 20
		}
		f.add(segment{at, 4096})
		want = at + 4096
	}
	if len(f.found) > 10 || f.found[len(f.found)-1].end() != want {
		t.Fatalf("%d segments up to %v", len(f.found), f.found[len(f.found)-1])
	}
	if i := slices.IndexFunc(f.found, func(s segment) bool { return s.end() == 499*8192+4096 }); i < 0 {
		t.Errorf("the largest hole is not among %v", f.found)
	}
}

// mapOf reads a map that is all there is of a member's data.
func mapOf(text string, size, data int64) (segments, error) {
	text += strings.Repeat("\x00", int(padding(int64(len(text)))))
	r := strings.NewReader(text)
	return readMap(size, int64(len(text))+data, func(dst []byte) error {
		_, err := io.ReadFull(r, dst)
		return err
	})
}

func TestMapsThatLieAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		text       string
		size, data int64
	}{
		"overlapping":                 {"2\n0\n10\n5\n15\n", 20, 25},
		"not in order":                {"2\n10\n10\n0\n10\n", 20, 20},
		"beyond the end":              {"1\n10\n20\n", 20, 20},
		"begins beyond the end":       {"1\n30\n0\n", 20, 0},
		"ends before the end":         {"1\n0\n10\n", 20, 10},
		"less data than it says":      {"1\n0\n20\n", 20, 19},
		"more data than it says":      {"1\n0\n20\n", 20, 21},
		"an empty segment in between": {"2\n5\n0\n10\n10\n", 20, 10},
		"an overflowing sum":          {"2\n0\n10\n10\n9223372036854775807\n", 20, 20},
		"a number too long":           {"1\n00000000000000000000000000000000000000001\n0\n", 1, 0},
		"a huge number":               {"1\n99999999999999999999\n0\n", 1, 0},
		"too many":                    {"65537\n", 20, 0},
		"very many":                   {"9000000000000000000\n", 20, 0},
		"none":                        {"0\n", 20, 0},
		"cut off":                     {"3\n0\n1\n", 20, 1},
		"no number":                   {"1\nx\n0\n", 20, 0},
		"an empty number":             {"1\n\n0\n", 20, 0},
		"a sign":                      {"1\n-1\n0\n", 20, 0},
	} {
		if got, err := mapOf(c.text, c.size, c.data); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	if _, err := readMap(20, 100, func([]byte) error { return io.EOF }); err == nil {
		t.Error("a map that does not fit is no error")
	}
}

func TestMapsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all segments
		var end, data int64
		for range rapid.IntRange(0, 100).Draw(t, "segments") {
			s := segment{end + rapid.Int64Range(1, 1<<40).Draw(t, "hole"), rapid.Int64Range(1, 1<<40).Draw(t, "size")}
			all, end, data = append(all, s), s.end(), data+s.size
		}
		size := end + rapid.Int64Range(0, 1).Draw(t, "at the end")
		text := all.text(size)
		got, err := readMap(size, int64(len(text))+data, func(dst []byte) error {
			text = text[copy(dst, text):]
			return nil
		})
		if err != nil || !slices.Equal(got, all) || len(text) > 0 {
			t.Errorf("%v reads back as %v, %v", all, got, err)
		}
	})
}

func FuzzReadMap(f *testing.F) {
	f.Add([]byte("2\n0\n10\n20\n0\n"), int64(20), int64(522))
	f.Fuzz(func(t *testing.T, text []byte, size, stored int64) {
		r := bytes.NewReader(text)
		all, err := readMap(size, stored, func(dst []byte) error {
			clear(dst)
			if _, err := r.Read(dst); err != nil {
				return err
			}
			return nil
		})
		var end int64
		for _, s := range all {
			if err != nil || s.at < end || s.size <= 0 || s.end() > size {
				t.Fatalf("%v of %d bytes, %v", all, size, err)
			}
			end = s.end()
		}
	})
}

func TestASparseFileThatTheDestinationCannotHoldIsAnError(t *testing.T) {
	h := headers{}
	m := member{Entry: Entry{Path: "f", Kind: File, Size: maxSize}, sparse: true}
	m.stored = segments{}.stored(m.Size)
	blocks, err := h.of(&m)
	must(t, err)
	plain := append(slices.Clone(blocks), segments{}.text(m.Size)...)
	plain = append(plain, make([]byte, 2*tarBlock)...)
	_, err = Extract(t.Context(), bytes.NewReader(framed(plain)), t.TempDir(), ExtractOptions{})
	if !errors.Is(err, unix.EFBIG) && !errors.Is(err, unix.EINVAL) {
		t.Errorf("got %v", err)
	}
}
