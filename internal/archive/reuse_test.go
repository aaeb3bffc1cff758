package archive

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/testenv"
)

// lineage is archives of a folder, of which later ones lean on earlier ones.
type lineage struct {
	dir  string
	all  map[string][]byte
	last int
}

func newLineage(dir string) *lineage { return &lineage{dir: dir, all: map[string][]byte{}} }

func (l *lineage) name(n int) string { return fmt.Sprintf("archive-%d", n) }

// reader opens an archive of a lineage, with those that it leans on.
func (l *lineage) reader(t testing.TB, name string) *Reader {
	t.Helper()
	source := func(name string) Source { return (&stock{ReaderAt: bytes.NewReader(l.all[name])}).source }
	r, err := Open(t.Context(), source(name), int64(len(l.all[name])), ReaderOptions{
		Workers: 2, Archive: func(_ context.Context, other Lean) (Source, error) { return source(other.Name), nil },
	})
	must(t, err)
	t.Cleanup(r.Close)
	return r
}

// indexOnly opens an archive of which nothing but the index is there.
func (l *lineage) indexOnly(t testing.TB, name string) *Reader {
	t.Helper()
	whole := l.all[name]
	at := reader(t, whole).own.trailer.index
	data := append(bytes.Repeat([]byte{0xee}, int(at)), whole[at:]...)
	return reader(t, data)
}

// take makes the next archive, on the one of that number; 0 is for a full one.
func (l *lineage) take(t testing.TB, on int, o Options) Summary {
	t.Helper()
	if on > 0 {
		o.Base = NewBase(l.name(on), l.indexOnly(t, l.name(on)))
	}
	data, sum := archived(t, l.dir, o)
	l.last++
	l.all[l.name(l.last)] = data
	return sum
}

// wants compares what comes out of the newest archive with what is there.
func (l *lineage) wants(t testing.TB) {
	t.Helper()
	r := l.reader(t, l.name(l.last))
	if damage, err := r.Verify(t.Context(), nil); err != nil || len(damage) > 0 {
		t.Fatalf("verify: %v, %+v", err, damage)
	}
	to := t.TempDir()
	_, err := r.Extract(t.Context(), to, ExtractOptions{})
	must(t, err)
	if diff := cmp.Diff(describe(t, l.dir), describe(t, to)); diff != "" {
		t.Fatalf("archive %d (-there +restored)\n%s", l.last, diff)
	}
	var stream, tar bytes.Buffer
	must(t, r.WriteWhole(t.Context(), &stream))
	must(t, r.Tar(t.Context(), &tar))
	if plain, err := plainOf(t, stream.Bytes()); err != nil || !bytes.Equal(plain, tar.Bytes()) {
		t.Fatalf("archive %d: as a whole it is a tar of %d bytes, not of %d (%v)", l.last, len(plain), tar.Len(), err)
	}
	must(t, os.RemoveAll(to))
}

// settled are options under which whatever was changed before can be relied upon.
func settled() Options {
	o := Options{Level: Fastest, Clock: later}
	return o
}

func onEach(t *testing.T, test func(t *testing.T, dir string)) {
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			dir, err := os.MkdirTemp(testenv.FileSystem(t, kind, 512), "")
			must(t, err)
			test(t, dir)
		})
	}
}

func TestWhatHasNotChangedIsASlice(t *testing.T) {
	onEach(t, func(t *testing.T, dir string) {
		write(t, dir, map[string]string{
			"a/one": "1", "a/two": "22", "b/large": strings.Repeat("words of it ", frameSize/4), "b/small": "s", "empty": "", "z": "last",
		})
		sparse(t, filepath.Join(dir, "holes"), 8<<20, 1<<20, 3<<20)
		must(t, os.Symlink("one", filepath.Join(dir, "a/symlink")))
		must(t, os.Link(filepath.Join(dir, "a/one"), filepath.Join(dir, "b/hardlink")))
		must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
		must(t, os.Chmod(filepath.Join(dir, "a/two"), 0o4711))
		l := newLineage(dir)
		full := l.take(t, 0, settled())
		same := l.take(t, 1, settled())
		l.wants(t)
		if !same.Unchanged || same.Reused != 7 || same.Bytes != full.Bytes || same.ReusedBytes != full.Bytes ||
			same.Plain != full.Plain || same.Entries != full.Entries || same.Stored > 2000 || same.Distrust != "" {
			t.Errorf("nothing has changed since %+v: %+v", full, same)
		}
		if len(same.Leans) != 1 || same.Leans[0].Name != l.name(1) || same.Leans[0].Size != int64(len(l.all[l.name(1)])) ||
			same.Leans[0].Directory != full.Directory {
			t.Errorf("leans on %+v", same.Leans)
		}
		write(t, dir, map[string]string{"a/two": "other"})
		one := l.take(t, 2, settled())
		l.wants(t)
		if one.Unchanged || one.Reused != 6 || len(one.Leans) != 1 || one.Leans[0].Name != l.name(1) {
			t.Errorf("one file has changed: %+v", one)
		}
		must(t, os.Remove(filepath.Join(dir, "empty")))
		gone := l.take(t, 3, settled())
		l.wants(t)
		if gone.Unchanged || gone.Reused != 6 || len(gone.Leans) != 2 {
			t.Errorf("one file is gone: %+v", gone)
		}
	})
}

// TestWhenNothingIsTakenOver has bases that say nothing of what is there now.
func TestWhenNothingIsTakenOver(t *testing.T) {
	dir, err := os.MkdirTemp(testenv.FileSystem(t, "ext4", 64), "")
	must(t, err)
	write(t, dir, map[string]string{"a": "1", "b": "2"})
	other := func(change func(*moment)) func(*Reader) {
		return func(r *Reader) { change(r.own.directory.Made) }
	}
	for name, c := range map[string]struct {
		base, now Options
		change    func(*Reader)
		why       string
	}{
		"made without a clock":    {Options{}, settled(), nil, "it is not known when"},
		"no clock now":            {settled(), Options{}, nil, "it is not known when"},
		"the clock was set":       {settled(), Options{Clock: func() time.Time { return later().Add(-2 * time.Second) }}, nil, "the clock was set"},
		"another boot":            {settled(), settled(), other(func(m *moment) { m.Boot = bytes.Clone(m.Boot); m.Boot[3] ^= 1 }), "started anew"},
		"another mount":           {settled(), settled(), other(func(m *moment) { m.Mount++ }), "mounted anew"},
		"another file system":     {settled(), settled(), other(func(m *moment) { m.FileSystem = unix.XFS_SUPER_MAGIC }), "mounted anew"},
		"a kernel without mounts": {settled(), settled(), other(func(m *moment) { m.Mount = 0 }), "does not tell"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLineage(dir)
			l.take(t, 0, c.base)
			r := reader(t, l.all[l.name(1)])
			if c.change != nil {
				c.change(r)
			}
			c.now.Base = NewBase(l.name(1), r)
			_, sum := archived(t, dir, c.now)
			if sum.Reused != 0 || sum.Unchanged || len(sum.Leans) > 0 || !strings.Contains(sum.Distrust, c.why) {
				t.Errorf("%+v", sum)
			}
		})
	}
	t.Run("what was changed just before", func(t *testing.T) {
		l := newLineage(dir)
		l.take(t, 0, Options{Clock: time.Now})
		if sum := l.take(t, 1, Options{Clock: time.Now}); sum.Reused != 0 || sum.Distrust != "" {
			t.Errorf("%+v", sum)
		}
		l.wants(t)
	})
	t.Run("an index that is damaged", func(t *testing.T) {
		l := newLineage(dir)
		l.take(t, 0, settled())
		data := bytes.Clone(l.all[l.name(1)])
		data[reader(t, data).entryBlocks[0].place+20] ^= 1
		o := settled()
		o.Base = NewBase(l.name(1), reader(t, data))
		if _, sum := archived(t, dir, o); sum.Reused != 0 || !strings.Contains(sum.Distrust, "SHA-256") {
			t.Errorf("%+v", sum)
		}
	})
	t.Run("tmpfs", func(t *testing.T) {
		dir := t.TempDir()
		must(t, unix.Mount("none", dir, "tmpfs", 0, ""))
		defer func() { must(t, unix.Unmount(dir, 0)) }()
		write(t, dir, map[string]string{"a": "1"})
		l := newLineage(dir)
		l.take(t, 0, settled())
		if sum := l.take(t, 1, settled()); sum.Reused != 0 || !strings.Contains(sum.Distrust, "prove nothing") {
			t.Errorf("%+v", sum)
		}
	})
}
