// Package targetstest is what every store must be able to do, as tests that all of them pass.
package targetstest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/backupd/backupd/internal/targets"
)

// Large is more bytes than three of the parts that any store sends at once.
const Large = 25<<20 + 1

// What a store may lack.
const (
	OneWins     = "one of many writers wins"            // where what it stands for knows no conditions on writing
	ManyObjects = "more objects than fit into one page" // where putting takes so long that its own tests list what was put otherwise
)

// Run tests the stores that open gives. Each is empty, and that test's own. What a store cannot do is named, and not tested.
func Run(t *testing.T, open func(t *testing.T) targets.Store, lacks ...string) {
	for name, test := range map[string]func(*testing.T, targets.Store){
		"what was put comes back":             comesBack,
		"ranges":                              ranges,
		"what is not there":                   notThere,
		"what is no key":                      noKey,
		"never replaces":                      neverReplaces,
		OneWins:                               oneWins,
		"a reader that fails leaves nothing":  failingReader,
		"a context that ends leaves nothing":  endingContext,
		"a context that has ended":            endedContext,
		"listings are sorted by key":          sorted,
		"a prefix ends with its slash":        prefixes,
		"a listing can be left":               leftEarly,
		ManyObjects:                           manyObjects,
		"odd characters":                      oddCharacters,
		"deleted is gone, and can come again": deleted,
	} {
		if !slices.Contains(lacks, name) {
			t.Run(name, func(t *testing.T) { test(t, open(t)) })
		}
	}
}

func comesBack(t *testing.T, s targets.Store) {
	for name, size := range map[string]int{"empty": 0, "one": 1, "some": 100_000, "part": 8 << 20, "large": Large} {
		data := Random(size)
		// Halves, so that the store cannot count on full reads.
		put(t, s, "host/volume/"+name, iotest.HalfReader(bytes.NewReader(data)))
		if got := get(t, s, "host/volume/"+name, 0, -1); !bytes.Equal(got, data) {
			t.Errorf("%s: got %d bytes other than the %d that were put", name, len(got), size)
		}
	}
	for o, err := range s.List(t.Context(), "host/volume/") {
		if err != nil {
			t.Fatal(err)
		}
		if o.Key == "host/volume/large" && o.Size != Large {
			t.Errorf("%s is listed with %d bytes, want %d", o.Key, o.Size, Large)
		}
		if o.Modified.IsZero() {
			t.Errorf("%s is listed without a time", o.Key)
		}
	}
}

func ranges(t *testing.T, s targets.Store) {
	putString(t, s, "ten", "0123456789")
	putString(t, s, "none", "")
	for _, c := range []struct {
		key    string
		off, n int64
		want   string
	}{
		{"ten", 0, 3, "012"},
		{"ten", 3, 4, "3456"},
		{"ten", 9, 1, "9"},
		{"ten", 4, -1, "456789"},
		{"ten", 0, 10, "0123456789"},
		{"ten", 0, 11, "0123456789"},
		{"ten", 8, 1 << 62, "89"},
		{"ten", 5, 0, ""},
		{"ten", 10, -1, ""},
		{"ten", 10, 1, ""},
		{"ten", 1 << 40, -1, ""},
		{"ten", 1 << 62, 1 << 62, ""},
		{"none", 0, -1, ""},
		{"none", 0, 0, ""},
		{"none", 0, 5, ""},
		{"none", 1, 5, ""},
	} {
		if got := get(t, s, c.key, c.off, c.n); string(got) != c.want {
			t.Errorf("get %s from %d, %d bytes: %q, want %q", c.key, c.off, c.n, got, c.want)
		}
	}
	if _, err := s.Get(t.Context(), "ten", -1, 1); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("get from before the beginning: %v, want fs.ErrInvalid", err)
	}
}

func notThere(t *testing.T, s targets.Store) {
	putString(t, s, "a/b", "x")
	for _, key := range []string{"nothing", "a/nothing", "a", "a/b/c"} {
		for _, n := range []int64{-1, 0, 5} {
			if _, err := s.Get(t.Context(), key, 0, n); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("get %d bytes of %s: %v, want fs.ErrNotExist", n, key, err)
			}
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("delete %s: %v", key, err)
		}
	}
	wantKeys(t, s, "nothing/")
	wantKeys(t, s, "a/b/")
	wantKeys(t, s, "", "a/b")
}

func noKey(t *testing.T, s targets.Store) {
	for _, key := range []string{"", ".", "..", "/a", "a/", "a//b", "../a", "a/../../b", "a\nb", "a\x00"} {
		if err := s.Put(t.Context(), key, strings.NewReader("x")); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("put %q: %v, want fs.ErrInvalid", key, err)
		}
		if _, err := s.Get(t.Context(), key, 0, -1); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("get %q: %v, want fs.ErrInvalid", key, err)
		}
		if err := s.Delete(t.Context(), key); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("delete %q: %v, want fs.ErrInvalid", key, err)
		}
	}
	for _, prefix := range []string{"a", "/", "../"} {
		for _, err := range s.List(t.Context(), prefix) {
			if !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("list %q: %v, want fs.ErrInvalid", prefix, err)
			}
		}
	}
	wantKeys(t, s, "")
}

func neverReplaces(t *testing.T, s targets.Store) {
	putString(t, s, "a/b", "first")
	for name, second := range map[string][]byte{"small": []byte("second"), "large": Random(Large), "empty": nil} {
		if err := s.Put(t.Context(), "a/b", bytes.NewReader(second)); !errors.Is(err, fs.ErrExist) {
			t.Errorf("put again, %s: %v, want fs.ErrExist", name, err)
		}
	}
	if got := get(t, s, "a/b", 0, -1); string(got) != "first" {
		t.Errorf("afterwards there are %d bytes, want those of the first put", len(got))
	}
}

func oneWins(t *testing.T, s targets.Store) {
	const writers = 8
	failures := make(chan error)
	for i := range writers {
		go func() { failures <- s.Put(t.Context(), "new/folder/key", strings.NewReader(strings.Repeat("x", i+1))) }()
	}
	won := 0
	for range writers {
		switch err := <-failures; {
		case err == nil:
			won++
		case !errors.Is(err, fs.ErrExist):
			t.Errorf("a loser got %v, want fs.ErrExist", err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d writers won", won, writers)
	}
	wantKeys(t, s, "", "new/folder/key")
}

func failingReader(t *testing.T, s targets.Store) {
	broken := errors.New("broken")
	for _, size := range []int{0, 10, 8 << 20, Large} {
		r := io.MultiReader(bytes.NewReader(Random(size)), iotest.ErrReader(broken))
		if err := s.Put(t.Context(), "a/b", r); !errors.Is(err, broken) {
			t.Errorf("a reader broken after %d bytes: %v", size, err)
		}
		wantKeys(t, s, "")
	}
	putString(t, s, "a/b", "now it works")
}

func endingContext(t *testing.T, s targets.Store) {
	for _, size := range []int{10, 8 << 20, Large} {
		ctx, cancel := context.WithCancel(t.Context())
		r := io.MultiReader(bytes.NewReader(Random(size)), callReader(cancel), neverEnding{})
		if err := s.Put(ctx, "a/b", r); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled after %d bytes: %v", size, err)
		}
		wantKeys(t, s, "")
	}
}

func endedContext(t *testing.T, s targets.Store) {
	putString(t, s, "there", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Put(ctx, "a", strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v", err)
	}
	if err := s.Delete(ctx, "there"); !errors.Is(err, context.Canceled) {
		t.Errorf("delete: %v", err)
	}
	if _, err := s.Get(ctx, "there", 0, -1); !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v", err)
	}
	for _, err := range s.List(ctx, "") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("list: %v", err)
		}
	}
	wantKeys(t, s, "", "there")
}

func sorted(t *testing.T, s targets.Store) {
	keys := []string{"a/b", "a/c/d", "a.b", "a-b/c", "a0", "ab/c", "b", "A", "z/y/x/w", "ü", "a/c.d", "a/c-d/e"}
	for _, key := range keys {
		putString(t, s, key, key)
	}
	slices.Sort(keys)
	wantKeys(t, s, "", keys...)
	wantKeys(t, s, "a/", "a/b", "a/c-d/e", "a/c.d", "a/c/d")
}

func prefixes(t *testing.T, s targets.Store) {
	for _, key := range []string{"app/1", "app2/1", "ap/app/1", "app-x/1"} {
		putString(t, s, key, "x")
	}
	wantKeys(t, s, "app/", "app/1")
	wantKeys(t, s, "app2/", "app2/1")
	wantKeys(t, s, "pp/")
}

func leftEarly(t *testing.T, s targets.Store) {
	putString(t, s, "a/1", "x")
	putString(t, s, "a/2", "x")
	putString(t, s, "b/1", "x")
	for o, err := range s.List(t.Context(), "") {
		if err != nil || o.Key != "a/1" {
			t.Errorf("first of the listing: %q, %v", o.Key, err)
		}
		break
	}
}

func manyObjects(t *testing.T, s targets.Store) {
	var keys []string
	for i := range 1100 {
		keys = append(keys, strings.Repeat("x", 1+i/100)+"/"+string(rune('a'+i%26))+strings.Repeat("y", i%100/26))
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	var g errgroup.Group
	g.SetLimit(16) // to be done soon
	for _, key := range keys {
		g.Go(func() error { return s.Put(t.Context(), key, strings.NewReader("")) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	wantKeys(t, s, "", keys...)
}

func oddCharacters(t *testing.T, s targets.Store) {
	keys := []string{
		"plus+and space", "%2F/%", "a%20b", "ümlaut/日本語/🙂", "&amp;<x>'\"", "?query=1#fragment", "*[a-z]\\x", "..dots../...", "~tilde;semi:colon@at=is,$",
		"-dash", "e\u0301", "\u00e9",
	}
	for _, key := range keys {
		putString(t, s, key, "of "+key)
	}
	slices.Sort(keys)
	wantKeys(t, s, "", keys...)
	wantKeys(t, s, "%2F/", "%2F/%")
	for _, key := range keys {
		if got := get(t, s, key, 0, -1); string(got) != "of "+key {
			t.Errorf("get %q: %q", key, got)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("delete %q: %v", key, err)
		}
	}
	wantKeys(t, s, "")
}

func deleted(t *testing.T, s targets.Store) {
	putString(t, s, "a/b", "first")
	putString(t, s, "a/c", "stays")
	for range 2 {
		if err := s.Delete(t.Context(), "a/b"); err != nil {
			t.Errorf("delete: %v", err)
		}
		wantKeys(t, s, "", "a/c")
	}
	putString(t, s, "a/b", "second")
	if got := get(t, s, "a/b", 0, -1); string(got) != "second" {
		t.Errorf("after delete and put: %q", got)
	}
}

// wantKeys compares a listing with what should be in it.
func wantKeys(t *testing.T, s targets.Store, prefix string, want ...string) {
	t.Helper()
	var got []string
	for o, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, o.Key)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("list %q (- wanted, + listed):\n%s", prefix, diff)
	}
}

func putString(t *testing.T, s targets.Store, key, data string) {
	t.Helper()
	put(t, s, key, strings.NewReader(data))
}

func put(t *testing.T, s targets.Store, key string, r io.Reader) {
	t.Helper()
	if err := s.Put(t.Context(), key, r); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s targets.Store, key string, off, n int64) []byte {
	t.Helper()
	r, err := s.Get(t.Context(), key, off, n)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return data
}

// callReader is an empty reader that calls a function when it is read.
type callReader func()

func (f callReader) Read([]byte) (int, error) { f(); return 0, io.EOF }

// neverEnding gives zeros for as long as it is asked.
type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { clear(p); return len(p), nil }
