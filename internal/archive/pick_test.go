package archive

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestExtractingByIndexIsExtractingTheStream(t *testing.T) {
	src := t.TempDir()
	write(t, src, map[string]string{
		"a/b/c": "1", "a/b-c": "2", "a/d/e/f": "3", "a/d/g": "4", "large": strings.Repeat("x", 3*frameSize), "z/1": "5", "z/2": "6", "z/3": "7",
	})
	must(t, os.Link(filepath.Join(src, "a/b/c"), filepath.Join(src, "z/link")))
	must(t, os.Chmod(filepath.Join(src, "a"), 0o711))
	for _, p := range append(paths(t, src), ".") {
		setTime(t, filepath.Join(src, p), time.Unix(1_600_000_000+int64(len(p)), 7))
	}
	data, _ := archived(t, src, Options{Level: Fastest})
	for _, patterns := range [][]string{
		nil, {"."}, {"a"}, {"a/b/c"}, {"a/d/e"}, {"a/*/e"}, {"**/*"}, {"z/[13]"}, {"z/1", "a/d/g"}, {"nothing"}, {"a/nothing/x"},
		{"z/link"}, {"large"}, {"a/b/c", "z/link"}, {`a/\d/g`},
	} {
		t.Run(strings.Join(patterns, " "), func(t *testing.T) {
			byStream, byIndex := t.TempDir(), t.TempDir()
			o := ExtractOptions{Paths: patterns}
			want, err := Extract(t.Context(), bytes.NewReader(data), byStream, o)
			must(t, err)
			s := &stock{ReaderAt: bytes.NewReader(data)}
			r, err := Open(t.Context(), s.source, int64(len(data)), ReaderOptions{})
			must(t, err)
			defer r.Close()
			got, err := r.Extract(t.Context(), byIndex, o)
			must(t, err)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error("report (-stream +index)\n", diff)
			}
			tree, other := describe(t, byStream), describe(t, byIndex)
			if patterns != nil && patterns[0] != "." { // a root that nobody asked for stays as it was
				delete(tree, ".")
				delete(other, ".")
			}
			if diff := cmp.Diff(tree, other); diff != "" {
				t.Error("restored (-stream +index)\n", diff)
			}
		})
	}
}
