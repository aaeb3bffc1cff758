package history_test

import (
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/history"
)

// snapshot is the entries of one, as "path=size" or "path=size@seconds", or "path->target".
type snapshot []string

func (s snapshot) entries() iter.Seq2[archive.Indexed, error] {
	return func(yield func(archive.Indexed, error) bool) {
		for _, text := range s {
			if text == "!" {
				yield(archive.Indexed{}, errBroken)
				return
			}
			if !yield(entry(text), nil) {
				return
			}
		}
	}
}

var errBroken = errors.New("broken")

func entry(text string) (e archive.Indexed) {
	if path, target, ok := strings.Cut(text, "->"); ok {
		e.Path, e.Linkname, e.Kind = path, target, archive.Symlink
		return e
	}
	path, facts, _ := strings.Cut(text, "=")
	var seconds int64
	if _, err := fmt.Sscanf(facts, "%d@%d", &e.Size, &seconds); err != nil && e.Size == 0 {
		panic(text)
	}
	e.Path, e.Kind, e.ModTime = path, archive.File, time.Unix(seconds, 7)
	return e
}

// say is a file in one line: of each version its size, the number of its snapshots, and those without.
func say(f history.File) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:", f.Path)
	for _, v := range f.Versions {
		fmt.Fprintf(&b, " %d%s%v", v.Size, v.Linkname, v.In)
	}
	if len(f.Gone) > 0 {
		fmt.Fprintf(&b, " gone%v", f.Gone)
	}
	return b.String()
}

func TestFilesHaveVersions(t *testing.T) {
	for name, c := range map[string]struct {
		snapshots []snapshot
		want      []string
	}{
		"nothing":                 {nil, nil},
		"never there":             {[]snapshot{{}, {}}, nil},
		"one version":             {[]snapshot{{"a=1@5"}, {"a=1@5"}}, []string{"a: 1[{0 1}]"}},
		"another size":            {[]snapshot{{"a=1@5"}, {"a=2@5"}}, []string{"a: 1[{0 0}] 2[{1 1}]"}},
		"another time":            {[]snapshot{{"a=1@5"}, {"a=1@6"}}, []string{"a: 1[{0 0}] 1[{1 1}]"}},
		"what was comes again":    {[]snapshot{{"a=1@5"}, {"a=2@6"}, {"a=1@5"}}, []string{"a: 1[{0 0} {2 2}] 2[{1 1}]"}},
		"gone and back":           {[]snapshot{{"a=1@5"}, {}, {}, {"a=1@5"}, {}}, []string{"a: 1[{0 0} {3 3}] gone[{1 2} {4 4}]"}},
		"not there at first":      {[]snapshot{{}, {"a=1@5"}}, []string{"a: 1[{1 1}]"}},
		"a symlink says another":  {[]snapshot{{"a->b"}, {"a->c"}}, []string{"a: 0b[{0 0}] 0c[{1 1}]"}},
		"a symlink for a file":    {[]snapshot{{"a=1@5"}, {"a->c"}}, []string{"a: 1[{0 0}] 0c[{1 1}]"}},
		"in the order of walks":   {[]snapshot{{"a/b=1@5"}, {"a-b=1@5"}}, []string{"a/b: 1[{0 0}] gone[{1 1}]", "a-b: 1[{1 1}]"}},
		"names that are no UTF-8": {[]snapshot{{"\xff=1@5"}, {"\xff=1@5"}}, []string{"\xff: 1[{0 1}]"}},
		"a broken one counts not": {[]snapshot{{"a=1@5"}, {"a=1@5", "b=1@5", "!"}, {"!"}, {"a=1@5"}}, []string{"a: 1[{0 1}]"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := history.New(t.TempDir())
			defer h.Close()
			for _, s := range c.snapshots {
				if err := h.Add(s.entries()); errors.Is(err, errBroken) != slices.Contains(s, "!") {
					t.Fatal(err)
				}
			}
			var got []string
			for f, err := range h.Files() {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, say(f))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Memory does not grow with the files: there are more of them here than fit into what is allowed, at the end of the second merge as after it.
func TestManyFilesTakeNoMemory(t *testing.T) {
	const files, most = 60_000, 4 << 20
	before := heap()
	grown := int64(0)
	all := func(yield func(archive.Indexed, error) bool) {
		for i := range files {
			if i == files-1 {
				grown = max(grown, heap()-before)
			}
			if !yield(entry(fmt.Sprintf("folder/with a long name/%0100d=1@5", i)), nil) {
				return
			}
		}
	}
	h := history.New(t.TempDir())
	defer h.Close()
	for range 2 {
		if err := h.Add(all); err != nil {
			t.Fatal(err)
		}
	}
	if grown > most {
		t.Errorf("%d bytes were held in memory", grown)
	}
	n := 0
	for f, err := range h.Files() {
		if err != nil || len(f.Versions) != 1 {
			t.Fatal(f, err)
		}
		n++
	}
	if n != files {
		t.Errorf("%d files", n)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
