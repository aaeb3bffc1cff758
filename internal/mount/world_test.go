package mount_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/mount"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/testenv"
)

// world is snapshots in memory, and a folder where they are shown.
type world struct {
	dir   string
	cache *archive.Cache

	mu     sync.Mutex
	shown  []mount.Snapshot
	data   map[snapshot.Ref][]byte
	refuse map[snapshot.Ref]error
	broken error // of listing
	now    time.Time
	log    bytes.Buffer

	gets, bytes int64
}

func newWorld() *world {
	return &world{
		cache: archive.NewCache(32 << 20), data: map[snapshot.Ref][]byte{}, refuse: map[snapshot.Ref]error{},
		now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC),
	}
}

// add takes a snapshot of a folder, days after the first.
func (w *world) add(t testing.TB, volume, folder string, day int) snapshot.Ref {
	t.Helper()
	var data bytes.Buffer
	_, err := archive.Create(t.Context(), folder, &data, archive.Options{Level: archive.Fastest})
	must(t, err)
	return w.put(volume, data.Bytes(), day)
}

func (w *world) put(volume string, data []byte, day int) snapshot.Ref {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := time.Date(2026, 11, day, 3, 0, 0, 0, time.UTC)
	ref := snapshot.Ref{Host: "web1", Volume: volume, ID: snapshot.ID(taken.Format("20060102T150405Z") + "-5f0c2a9e")}
	w.shown = append(w.shown, mount.Snapshot{Ref: ref, Taken: taken, Good: true})
	w.data[ref] = data
	return ref
}

func (w *world) remove(ref snapshot.Ref) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shown = slices.DeleteFunc(w.shown, func(s mount.Snapshot) bool { return s.Ref == ref })
	delete(w.data, ref)
}

func (w *world) Snapshots(context.Context) ([]mount.Snapshot, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.shown), w.broken
}

func (w *world) Open(ctx context.Context, ref snapshot.Ref) (*archive.Reader, error) {
	w.mu.Lock()
	data, err := w.data[ref], w.refuse[ref]
	w.mu.Unlock()
	if err != nil {
		return nil, err
	}
	source := func(_ context.Context, off, n int64) (io.ReadCloser, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.data[ref] == nil {
			return nil, fs.ErrNotExist
		}
		w.gets++
		w.bytes += n
		return io.NopCloser(bytes.NewReader(w.data[ref][off : off+n])), nil
	}
	return archive.Open(ctx, source, int64(len(data)), archive.ReaderOptions{Cache: w.cache})
}

// cost is what was fetched meanwhile.
func (w *world) cost(do func()) (gets, bytes int64) {
	w.mu.Lock()
	gets, bytes = w.gets, w.bytes
	w.mu.Unlock()
	do()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gets - gets, w.bytes - bytes
}

// later lets time pass, so that what is listed is old; for the kernel none has.
func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

func (w *world) logged() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// show mounts all that there is, until the test ends or stop is called, which gives what Run does.
func (w *world) show(t testing.TB, o mount.Options) (stop func() error) {
	t.Helper()
	testenv.FUSE(t)
	w.dir = t.TempDir()
	ready, ended := make(chan string, 1), make(chan error, 1)
	o.Ready, o.Now = func(dir string) { ready <- dir }, w.clock
	o.Log = slog.New(slog.NewTextHandler(w, nil))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- mount.Run(ctx, w.dir, w, o) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { must(t, stop()) })
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	return stop
}

// path is where something of a snapshot is shown.
func (w *world) path(ref snapshot.Ref, name ...string) string {
	return filepath.Join(append([]string{w.dir, snapshot.Escape(ref.Volume), string(ref.ID)}, name...)...)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, data := range files {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(data), 0o644))
	}
}

func random(n int, seed byte) string {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(data)
	return string(data)
}

// everything is a folder of all that a volume can have.
func everything(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"a": "1", "a-b/c": "2", "a.b": "", "d/e/f": strings.Repeat("x", 3000), "large": random(5<<20+17, 1),
		"d/\xff\n": "odd", "even": strings.Repeat("y", 1<<20), strings.Repeat("n", 255): "long",
	})
	for i := range 500 {
		must(t, os.WriteFile(filepath.Join(dir, "d", fmt.Sprintf("f%03d", i)), []byte(fmt.Sprint(i)), 0o600))
	}
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o700))
	must(t, os.Truncate(filepath.Join(dir, "a.b"), 3<<20))
	f, err := os.OpenFile(filepath.Join(dir, "a.b"), os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("within a hole"), 1<<20)
	must(t, err)
	must(t, f.Close())
	must(t, os.Link(filepath.Join(dir, "large"), filepath.Join(dir, "d", "link")))
	must(t, os.Symlink("../elsewhere", filepath.Join(dir, "sym")))
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o640))
	if os.Geteuid() == 0 {
		must(t, unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		must(t, os.Lchown(filepath.Join(dir, "sym"), 1234, 5678))
		must(t, os.Chown(filepath.Join(dir, "a"), 1<<31+5, 7))
		must(t, os.Chmod(filepath.Join(dir, "a"), 0o6751|os.ModeSetuid))
	}
	must(t, os.Chtimes(filepath.Join(dir, "a"), time.Unix(1, 0), time.Unix(-5, 123456789)))
	must(t, os.Chmod(dir, 0o750))
	must(t, os.Chtimes(dir, time.Unix(5, 0), time.Unix(6, 7)))
	return dir
}

func sum(data []byte) [32]byte { return sha256.Sum256(data) }
