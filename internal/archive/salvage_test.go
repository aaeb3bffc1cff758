package archive

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hit gives an archive of which the frame that has a byte of the plain stream is damaged.
func hit(t testing.TB, whole []byte, at int64) []byte {
	t.Helper()
	r := reader(t, whole)
	bad := slices.Clone(whole)
	for f, err := range r.own.framesFrom(t.Context(), at) {
		must(t, err)
		bad[f.place+int64(f.stored)/2] ^= 0x40
		break
	}
	return bad
}

func TestWhatCanBeReadOfADamagedArchiveIsRestored(t *testing.T) {
	src := t.TempDir()
	write(t, src, map[string]string{
		"a": "first", "b/1": strings.Repeat("one ", 10_000), "large": strings.Repeat("x", 3*frameSize), "m/1": "middle", "m/2": "too",
		"x": strings.Repeat("y", 2*frameSize), "z/1": "last", "z/2": "of all",
	})
	must(t, os.Link(filepath.Join(src, "a"), filepath.Join(src, "z/link")))
	whole, _ := archived(t, src, Options{})
	place := func(path string) int64 {
		e, err := reader(t, whole).Stat(t.Context(), path)
		must(t, err)
		return e.from
	}
	for name, c := range map[string]struct {
		at           int64
		zeroed       string   // a file with zeros in the place of its second 1 MiB
		lost         []string // what is not there
		hit, unnamed int      // entries, by the index, and places of which the tar alone cannot tell
	}{
		"contents of a large file": {at: place("large") + 2*frameSize, zeroed: "large", hit: 1, unnamed: 1},
		"headers in the middle":    {at: place("m/1"), lost: []string{"m/1", "m/2", "x"}, hit: 4, unnamed: 1},
		"headers at the end":       {at: place("z/1"), lost: []string{"z/1", "z/2", "z/link"}, hit: 4, unnamed: 1},
		"headers at the beginning": {at: 0, lost: []string{"a", "b/1", "large", "z/link"}, hit: 5, unnamed: 1},
	} {
		bad := hit(t, whole, c.at)
		extract := map[string]func(dir string) (Report, error){
			"by index": func(dir string) (Report, error) {
				return reader(t, bad).Extract(t.Context(), dir, ExtractOptions{KeepGoing: true})
			},
			"by the tar alone": func(dir string) (Report, error) {
				return Extract(t.Context(), bytes.NewReader(bad), dir, ExtractOptions{KeepGoing: true})
			},
		}
		for how, extract := range extract {
			t.Run(name+" "+how, func(t *testing.T) {
				dst := t.TempDir()
				rep, err := extract(dst)
				if !errors.Is(err, ErrDamaged) {
					t.Errorf("got %v", err)
				}
				want := contents(t, src)
				for _, path := range c.lost {
					delete(want, path)
				}
				if c.zeroed != "" {
					want[c.zeroed] = strings.Repeat("x", frameSize) + strings.Repeat("\x00", frameSize) + strings.Repeat("x", frameSize)
				}
				got := contents(t, dst)
				if diff := cmp.Diff(want, got); len(want) != len(got) || diff != "" {
					t.Errorf("restored %d files, want %d: %.1000s", len(got), len(want), diff)
				}
				hits := c.hit
				if how != "by index" {
					hits = c.unnamed
				}
				if int(rep.DamagedTotal) != hits {
					t.Errorf("%d entries are hit, want %d: %v", rep.DamagedTotal, hits, rep.Damaged)
				}
			})
		}
	}
}

func TestADamagedIndexDoesNotEndSalvage(t *testing.T) {
	src := t.TempDir()
	files := map[string]string{"a": "first", "large": strings.Repeat("x", 3*frameSize), "z": "last"}
	write(t, src, files)
	whole, _ := archived(t, src, Options{})
	r := reader(t, whole)
	for i, b := range r.own.directory.Blocks {
		t.Run(b.Kind.String(), func(t *testing.T) {
			bad := hit(t, whole, 2*frameSize)
			bad[b.place+b.Length-1] ^= 1
			dst := t.TempDir()
			rep, err := reader(t, bad).Extract(t.Context(), dst, ExtractOptions{KeepGoing: true})
			if !errors.Is(err, ErrDamaged) || rep.DamagedTotal != 1 {
				t.Errorf("block %d: %v, %+v", i, err, rep)
			}
			want := maps.Clone(files)
			want["large"] = strings.Repeat("x", frameSize) + strings.Repeat("\x00", frameSize) + strings.Repeat("x", frameSize)
			if diff := cmp.Diff(want, contents(t, dst)); diff != "" {
				t.Errorf("restored: %.1000s", diff)
			}
		})
	}
	if len(r.own.directory.Blocks) != 3 {
		t.Errorf("%d blocks", len(r.own.directory.Blocks))
	}
}

// contents are the files below a folder.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, p := range paths(t, dir) {
		if data, err := os.ReadFile(filepath.Join(dir, p)); err == nil {
			all[p] = string(data)
		}
	}
	return all
}

func TestAnArchiveWithoutItsTailGivesWhatComesBefore(t *testing.T) {
	src := t.TempDir()
	write(t, src, map[string]string{"a": "first", "large": strings.Repeat("x", 3*frameSize), "z": "last"})
	whole, _ := archived(t, src, Options{})
	for _, keepGoing := range []bool{false, true} {
		dst := t.TempDir()
		_, err := Extract(t.Context(), bytes.NewReader(whole[:2*frameSize]), dst, ExtractOptions{KeepGoing: keepGoing})
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v", err)
		}
		got := contents(t, dst)
		if got["a"] != "first" || !strings.HasPrefix(got["large"], strings.Repeat("x", frameSize)) || got["z"] != "" {
			t.Errorf("restored %d files", len(got))
		}
	}
}

func TestASparseFileWithoutItsMapIsLeftOut(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	// The first frame ends within the map.
	files := map[string]string{"a": strings.Repeat("x", frameSize-50_000), "z": "last"}
	write(t, src, files)
	var at []int64
	for i := range int64(10_000) {
		at = append(at, i*8192)
	}
	sparse(t, filepath.Join(src, "holes"), 10_000*8192, at...)
	whole, _ := archived(t, src, Options{Level: Fastest})
	bad := hit(t, whole, frameSize)
	rep, err := reader(t, bad).Extract(t.Context(), dst, ExtractOptions{KeepGoing: true})
	if !errors.Is(err, ErrDamaged) || len(rep.Damaged) != 1 || rep.Damaged[0].Path != "holes" {
		t.Errorf("got %v, %v", rep.Damaged, err)
	}
	if diff := cmp.Diff(files, contents(t, dst)); diff != "" {
		t.Errorf("restored %.1000s", diff)
	}
}
