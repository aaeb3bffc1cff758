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
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/testenv"
)

// restored gives the paths of an archive with the contents of its files, or what else they are.
func restored(t testing.TB, data []byte) map[string]string {
	t.Helper()
	dir := t.TempDir()
	_, err := Extract(t.Context(), bytes.NewReader(data), dir, ExtractOptions{})
	must(t, err)
	all := make(map[string]string)
	must(t, List(t.Context(), bytes.NewReader(data), [32]byte{}, nil, func(e Entry) error {
		all[e.Path] = e.Kind.String()
		if e.Kind == File {
			text, err := os.ReadFile(filepath.Join(dir, e.Path))
			all[e.Path] = string(text)
			return err
		}
		return nil
	}))
	delete(all, ".")
	return all
}

func TestWhatChangesWhileItIsReadIsCounted(t *testing.T) {
	big, bigger := strings.Repeat("x", 2*frameSize), strings.Repeat("x", 3*frameSize)
	replace := func(path string, with func() error) error {
		return errors.Join(os.RemoveAll(path), with())
	}
	for name, c := range map[string]struct {
		when, what                 string // the step at which the path is changed
		change                     func(path string) error
		want                       map[string]string // other than d, d/x and z
		vanished, resized, sockets int64
	}{
		"file vanishes":                 {when: "open", what: "f", change: os.Remove, want: map[string]string{"f": "", "big": big}, vanished: 1},
		"folder vanishes":               {when: "open", what: "d", change: os.RemoveAll, want: map[string]string{"d": "", "d/x": ""}, vanished: 1},
		"file vanishes when it is open": {when: "read", what: "f", change: os.Remove, want: map[string]string{"f": "data"}},
		"file shrinks": {when: "read", what: "f", change: func(p string) error { return os.Truncate(p, 2) },
			want: map[string]string{"f": "da\x00\x00"}, resized: 1},
		"file grows": {when: "read", what: "f", change: func(p string) error { return os.WriteFile(p, []byte("data more"), 0) },
			want: map[string]string{"f": "data"}, resized: 1},
		"file is emptied": {when: "read", what: "big", change: func(p string) error { return os.Truncate(p, 0) },
			want: map[string]string{"big": strings.Repeat("\x00", len(big))}, resized: 1},
		"large file shrinks within a frame": {when: "read", what: "big", change: func(p string) error { return os.Truncate(p, frameSize+5) },
			want: map[string]string{"big": big[:frameSize+5] + strings.Repeat("\x00", frameSize-5)}, resized: 1},
		"large file grows": {when: "read", what: "big", change: func(p string) error { return os.WriteFile(p, []byte(bigger), 0) },
			want: map[string]string{"big": big}, resized: 1},
		"file changes in place": {when: "read", what: "f", change: func(p string) error { return os.WriteFile(p, []byte("DATA"), 0) },
			want: map[string]string{"f": "DATA"}},
		"file becomes a pipe": {when: "open", what: "f", change: func(p string) error {
			return replace(p, func() error { return unix.Mkfifo(p, 0o600) })
		}, want: map[string]string{"f": "fifo"}},
		"file becomes a symlink": {when: "open", what: "f", change: func(p string) error {
			return replace(p, func() error { return os.Symlink("/etc/passwd", p) })
		}, want: map[string]string{"f": "symlink"}},
		"folder becomes a symlink": {when: "open", what: "d", change: func(p string) error {
			return replace(p, func() error { return os.Symlink("/etc", p) })
		}, want: map[string]string{"d": "symlink", "d/x": ""}},
		"file becomes a folder": {when: "open", what: "f", change: func(p string) error {
			return replace(p, func() error { return os.Mkdir(p, 0o700) })
		}, want: map[string]string{"f": "folder"}},
		"file becomes a socket": {when: "open", what: "f", change: func(p string) error {
			return replace(p, func() error { return unix.Mknod(p, unix.S_IFSOCK|0o600, 0) })
		}, want: map[string]string{"f": ""}, sockets: 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, map[string]string{"f": "data", "big": big, "d/x": "x", "z": "last"})
			data, sum := archived(t, dir, Options{step: func(when, path string) {
				if when == c.when && path == c.what {
					must(t, c.change(filepath.Join(dir, path)))
				}
			}})
			want := map[string]string{"f": "data", "big": big, "d": "folder", "d/x": "x", "z": "last"}
			for path, text := range c.want {
				want[path] = text
				if text == "" {
					delete(want, path)
				}
			}
			if diff := cmp.Diff(want, restored(t, data)); diff != "" {
				t.Error("archive differs (-want +got)\n", diff)
			}
			if got := [3]int64{sum.Vanished, sum.Resized, sum.Sockets}; got != [3]int64{c.vanished, c.resized, c.sockets} {
				t.Errorf("vanished, resized, sockets: %v", got)
			}
		})
	}
}

func TestEntriesAreInOrderAndExcludedOnesAreNotThere(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"a/b": "", "a-b": "", "a/b.tmp": "", "cache/x/y": "", "keep/cache/z": "", "tmp/1": "", "tmp/d/2": "", "Z": "",
	})
	for name, c := range map[string]struct {
		exclude []string
		want    string
	}{
		"nothing excluded":          {nil, ". Z a a/b a/b.tmp a-b cache cache/x cache/x/y keep keep/cache keep/cache/z tmp tmp/1 tmp/d tmp/d/2"},
		"a folder with all below":   {[]string{"cache"}, ". Z a a/b a/b.tmp a-b keep keep/cache keep/cache/z tmp tmp/1 tmp/d tmp/d/2"},
		"wherever it is":            {[]string{"**/cache"}, ". Z a a/b a/b.tmp a-b keep tmp tmp/1 tmp/d tmp/d/2"},
		"contents, not the folder":  {[]string{"tmp/**", "cache/*"}, ". Z a a/b a/b.tmp a-b cache keep keep/cache keep/cache/z tmp"},
		"written another way":       {[]string{"./tmp/", "{cache,keep}"}, ". Z a a/b a/b.tmp a-b"},
		"by ending, case sensitive": {[]string{"**/*.tmp", "z"}, ". Z a a/b a-b cache cache/x cache/x/y keep keep/cache keep/cache/z tmp tmp/1 tmp/d tmp/d/2"},
		"all but the root":          {[]string{"**"}, "."},
	} {
		t.Run(name, func(t *testing.T) {
			data, sum := archived(t, dir, Options{Level: Fastest, Exclude: c.exclude})
			var got []string
			must(t, List(t.Context(), bytes.NewReader(data), [32]byte{}, nil, func(e Entry) error {
				got = append(got, e.Path)
				return nil
			}))
			if diff := cmp.Diff(strings.Fields(c.want), got); diff != "" {
				t.Error("entries (-want +got)\n", diff)
			}
			if sum.Entries != int64(len(got)) {
				t.Errorf("counted %d entries of %d", sum.Entries, len(got))
			}
		})
	}
}

func TestGlobsThatCannotMatchAreRefused(t *testing.T) {
	for pattern, wrong := range map[string]bool{
		"": true, "/abs": true, "[": true, "a/{b": true, "../x": true, "a/../b": true,
		"a": false, "**/*.tmp": false, "a/": false, "{a,b}/[x-z]?": false, "..a/b..": false,
	} {
		err := ValidateGlob(pattern)
		if (err != nil) != wrong {
			t.Errorf("%q: %v", pattern, err)
		}
		if _, creating := Create(t.Context(), t.TempDir(), io.Discard, Options{Exclude: []string{pattern}}); (creating != nil) != wrong {
			t.Errorf("create with %q: %v", pattern, creating)
		}
	}
}

func TestLevelsHaveNames(t *testing.T) {
	for _, l := range []Level{None, Fastest, Default, Better} {
		text, err := l.MarshalText()
		must(t, err)
		back := Level(-1)
		if err := back.UnmarshalText(text); err != nil || back != l {
			t.Errorf("%v comes back as %v, %v", l, back, err)
		}
	}
	var l Level
	if err := l.UnmarshalText([]byte("best")); err == nil || !strings.Contains(err.Error(), "none, fastest, default or better") {
		t.Errorf("best: %v", err)
	}
	if _, err := Level(9).MarshalText(); err == nil {
		t.Error("a level that is none has a name")
	}
}

func TestTheSameTreeGivesTheSameBytesWithAnyNumberOfWorkers(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": strings.Repeat("abc", frameSize), "b/c": "d", "b/e": strings.Repeat("f", 1000)})
	one, sum := archived(t, dir, Options{Level: Fastest, Workers: 1})
	many, _ := archived(t, dir, Options{Level: Fastest, Workers: 7})
	if !bytes.Equal(one, many) {
		t.Error("bytes depend on the number of workers")
	}
	if sum.Stored != int64(len(one)) {
		t.Errorf("summary of %d bytes, not %d", sum.Stored, len(one))
	}
	if want := int64(3*frameSize + 1 + 1000); sum.Bytes != want {
		t.Errorf("%d bytes of data, want %d", sum.Bytes, want)
	}
}

func TestAnArchiveEndsWithItsWriterOrContext(t *testing.T) {
	dir := t.TempDir()
	for _, n := range strings.Split("abcdefghijklmnopqrst", "") {
		write(t, dir, map[string]string{n: strings.Repeat(n, 2*frameSize)})
	}
	gone, stopped := errors.New("disk is gone"), errors.New("stopped")
	// A bubble waits for every goroutine that was begun in it.
	t.Run("writer fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			if _, err := Create(t.Context(), dir, &failing{after: 3, err: gone}, Options{}); !errors.Is(err, gone) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("context ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			sum, err := Create(ctx, dir, io.Discard, Options{step: func(_, path string) {
				if path == "c" {
					cancel(stopped)
				}
			}})
			if !errors.Is(err, stopped) || sum.Stored != 0 {
				t.Errorf("got %+v, %v", sum, err)
			}
		})
	})
	t.Run("reader fails", func(t *testing.T) {
		data, _ := archived(t, dir, Options{})
		synctest.Test(t, func(t *testing.T) {
			r := io.MultiReader(bytes.NewReader(data[:len(data)/2]), &failing{err: gone})
			if _, err := Extract(t.Context(), r, t.TempDir(), ExtractOptions{}); !errors.Is(err, gone) || errors.Is(err, ErrDamaged) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("context ends while extracting", func(t *testing.T) {
		data, _ := archived(t, dir, Options{})
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			_, err := Extract(ctx, bytes.NewReader(data), t.TempDir(), ExtractOptions{Progress: func(int64) { cancel(stopped) }})
			if !errors.Is(err, stopped) {
				t.Errorf("got %v", err)
			}
		})
	})
}

// failing reads and writes until it has been asked so many times.
type failing struct {
	after int
	err   error
}

func (f *failing) call(p []byte) (int, error) {
	if f.after--; f.after < 0 {
		return 0, f.err
	}
	return len(p), nil
}

func (f *failing) Write(p []byte) (int, error) { return f.call(p) }
func (f *failing) Read(p []byte) (int, error)  { return f.call(p) }

func TestReadingKeepsToItsLimit(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"large": strings.Repeat("x", 4<<20)})
	for i := range 100 {
		write(t, dir, map[string]string{"small" + string(rune('a'+i)): strings.Repeat("x", 10_000)})
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var last int64
		sum, err := Create(t.Context(), dir, io.Discard, Options{ReadLimit: 1 << 20, Progress: func(read int64) { last = read }})
		must(t, err)
		took, least := time.Since(start), time.Duration(sum.Bytes-2<<20)*time.Second>>20
		if took < least || took > least+2*time.Second {
			t.Errorf("%d bytes at 1 MiB/s took %v", sum.Bytes, took)
		}
		if last != sum.Bytes {
			t.Errorf("progress ended at %d of %d bytes", last, sum.Bytes)
		}
	})
}

func TestAFileThatCannotBeReadFailsTheArchive(t *testing.T) {
	testenv.Root(t)
	dir := sharedDir(t)
	write(t, dir, map[string]string{"ok": "1", "d/secret": "2"})
	must(t, os.Chmod(filepath.Join(dir, "d/secret"), 0o600))
	unreadable := errors.New("unset")
	walk := newWalker("")
	walk.out = &direct{packer{line: newLine(1)}, &dataReader{}}
	asNobody(func() { unreadable = walk.archive(t.Context(), dir) })
	if !errors.Is(unreadable, fs.ErrPermission) || !strings.Contains(unreadable.Error(), `"d/secret"`) {
		t.Errorf("got %v", unreadable)
	}
	if _, err := Create(t.Context(), filepath.Join(dir, "not there"), io.Discard, Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if _, err := Create(t.Context(), filepath.Join(dir, "ok"), io.Discard, Options{}); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file for a folder: %v", err)
	}
}

func TestMountsBelowAreLeftOutAndListed(t *testing.T) {
	testenv.Root(t)
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "1", "mounted/below": "2", "z": "3"})
	at := filepath.Join(dir, "mounted")
	if err := unix.Mount("none", at, "tmpfs", 0, ""); err != nil {
		testenv.Missing(t, "leave to mount", err.Error())
	}
	t.Cleanup(func() { must(t, unix.Unmount(at, 0)) })
	write(t, at, map[string]string{"other": "elsewhere"})
	data, sum := archived(t, dir, Options{})
	if !slices.Equal(sum.Mounts, []string{"mounted"}) {
		t.Errorf("mounts %q", sum.Mounts)
	}
	want := map[string]string{"a": "1", "mounted": "folder", "z": "3"}
	if diff := cmp.Diff(want, restored(t, data)); diff != "" {
		t.Error("archive differs (-want +got)\n", diff)
	}
}

func TestWhatDoesNotCompressIsNotTried(t *testing.T) {
	random := make([]byte, frameSize)
	rand.NewChaCha8([32]byte{2}).Read(random)
	text := []byte(strings.Repeat("some words and some more words. ", frameSize/32))
	mixed := append(slices.Clone(random[:frameSize/2]), text[:frameSize/2]...)
	for name, c := range map[string]struct {
		data []byte
		want bool
	}{
		"random": {random, false}, "text": {text, true}, "half and half": {mixed, true}, "zeros": {make([]byte, frameSize), true},
		"one byte": {[]byte("x"), true}, "few random bytes": {random[:100], true},
	} {
		if got := compressible(c.data); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestWorkersHaveRoomInMemory: encoders differ in what they take.
func TestWorkersHaveRoomInMemory(t *testing.T) {
	before := runtime.GOMAXPROCS(16)
	defer runtime.GOMAXPROCS(before)
	for level, want := range map[Level]int{None: 8, Fastest: 6, Default: 5, Better: 3} {
		if got := level.workers(0); got != want {
			t.Errorf("%v: %d workers, want %d", level, got, want)
		}
		if got := level.workers(12); got != 12 {
			t.Errorf("%v: %d workers, where 12 were asked for", level, got)
		}
	}
}
