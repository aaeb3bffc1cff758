package archive

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMatching(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a.conf": "1", "etc/a.conf": "22", "etc/d/b.conf": "333", "etc/x": "", "[odd]": "4"})
	must(t, os.Link(filepath.Join(dir, "a.conf"), filepath.Join(dir, "link")))
	data, _ := archived(t, dir, Options{})
	r := reader(t, data)
	for pattern, want := range map[string][]string{
		"**/a.conf":    {"a.conf", "etc/a.conf"},
		"a.conf":       {"a.conf"},
		"./a.conf":     {"a.conf"},
		"etc":          {"etc"},
		"etc/":         {"etc"},
		"etc/*":        {"etc/a.conf", "etc/d", "etc/x"},
		"etc/**":       {"etc/a.conf", "etc/d", "etc/d/b.conf", "etc/x"},
		"**/*.conf":    {"a.conf", "etc/a.conf", "etc/d/b.conf"},
		`\[odd\]`:      {"[odd]"},
		"**/link":      {"link"},
		".":            nil,
		"nowhere":      nil,
		"etc/nowhere*": nil,
	} {
		var got []string
		for e, err := range r.Matching(t.Context(), pattern) {
			must(t, err)
			if e.Path == "link" && (e.Kind != File || e.Size != 1) {
				t.Errorf("%q: a hard link is %v of %d bytes", pattern, e.Kind, e.Size)
			}
			got = append(got, e.Path)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got)\n%s", pattern, diff)
		}
	}
	for _, err := range r.Matching(t.Context(), "../a") {
		if err == nil {
			t.Error("it leads outside")
		}
	}
}

// A path is looked up: what lies below it is not fetched.
func TestMatchingAPathFetchesLittle(t *testing.T) {
	data, _ := archived(t, many(t, 20_000), Options{})
	s := &stock{ReaderAt: bytes.NewReader(data)}
	r, err := Open(t.Context(), s.source, int64(len(data)), ReaderOptions{})
	must(t, err)
	defer r.Close()
	cost := func(pattern string) int64 {
		before := s.bytes
		n := 0
		for _, err := range r.Matching(t.Context(), pattern) {
			must(t, err)
			n++
		}
		if n != 1 {
			t.Fatalf("%q matches %d", pattern, n)
		}
		return s.bytes - before
	}
	path, everywhere := cost("d050/f50"), cost("*050/f50")
	if path*3 > everywhere {
		t.Errorf("a path took %d bytes, a search everywhere %d", path, everywhere)
	}
}
