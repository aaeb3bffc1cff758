package mount_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/mount"
	"github.com/backupd/backupd/internal/seal"
	"github.com/backupd/backupd/internal/testenv"
)

func TestWhatIsNewAppearsAndWhatIsRemovedGoes(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	write(t, dir, map[string]string{"a": "1", "large": random(3<<20, 2)})
	first, second := w.add(t, "app", dir, 1), w.add(t, "app", dir, 2)
	w.show(t, mount.Options{})
	f, err := os.Open(w.path(second, "large"))
	must(t, err)
	defer f.Close()
	_, err = f.ReadAt(make([]byte, 10), 0)
	must(t, err)
	w.remove(second)
	third := w.add(t, "new", dir, 3)
	if _, err := os.Stat(w.path(third)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is listed at once: %v", err)
	}
	w.later(time.Minute)
	testenv.Eventually(t, "the new one is there", func() bool { _, err := os.Stat(w.path(third, "a")); return err == nil })
	testenv.Eventually(t, "the old one is gone", func() bool { _, err := os.Stat(w.path(second, "a")); return errors.Is(err, fs.ErrNotExist) })
	if got := names(t, filepath.Join(w.dir, "app")); len(got) != 2 || got[0] != string(first.ID) {
		t.Errorf("there is %q", got)
	}
	if to, err := os.Readlink(filepath.Join(w.dir, "app", "latest")); to != string(first.ID) || err != nil {
		t.Errorf("the latest is %s, %v", to, err)
	}
	if _, err := f.ReadAt(make([]byte, 10), 2<<20+5); err == nil {
		t.Error("what was removed is read")
	}
	w.remove(first)
	w.later(time.Minute)
	testenv.Eventually(t, "the volume is gone", func() bool { return len(names(t, w.dir)) == 1 })
}

func TestWhatCannotBeListedStays(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	write(t, dir, map[string]string{"a": "1"})
	ref := w.add(t, "app", dir, 1)
	w.show(t, mount.Options{})
	must(t, statOf(w.path(ref)))
	w.mu.Lock()
	w.shown, w.broken = nil, errors.New("the server is away")
	w.mu.Unlock()
	w.later(time.Minute)
	testenv.Eventually(t, "it is told", func() bool {
		must(t, statOf(w.path(ref, "a")))
		return strings.Contains(w.logged(), "the server is away")
	})
}

func TestWhatCanBeListedIsShown(t *testing.T) {
	w := newWorld()
	ref := w.add(t, "app", t.TempDir(), 1)
	w.broken = errors.New("another target is away")
	w.show(t, mount.Options{})
	must(t, statOf(w.path(ref)))
	if !strings.Contains(w.logged(), "another target is away") {
		t.Errorf("the log:\n%s", w.logged())
	}
}

func TestWhereNothingCanBeListedNothingIsShown(t *testing.T) {
	testenv.FUSE(t)
	w := newWorld()
	w.broken = errors.New("the only target is away")
	err := mount.Run(t.Context(), t.TempDir(), w, mount.Options{Log: slog.New(slog.DiscardHandler), Now: w.clock})
	if !errors.Is(err, w.broken) {
		t.Error(err)
	}
}

func statOf(path string) error { _, err := os.Stat(path); return err }

func TestWhatIsLockedLetsNobodyIn(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	write(t, dir, map[string]string{"a": "1"})
	open, locked, broken := w.add(t, "app", dir, 1), w.add(t, "app", dir, 2), w.add(t, "app", dir, 3)
	w.refuse[locked] = fmt.Errorf("open: %w", seal.ErrLocked)
	w.refuse[broken] = fmt.Errorf("open: %w", archive.ErrDamaged)
	w.show(t, mount.Options{})
	for ref, want := range map[string]error{w.path(open): nil, w.path(locked): unix.EACCES, w.path(broken): unix.EIO} {
		must(t, statOf(ref))
		if _, err := os.ReadDir(ref); !errors.Is(err, want) {
			t.Errorf("%s: %v", ref, err)
		}
		if err := statOf(filepath.Join(ref, "a")); !errors.Is(err, want) {
			t.Errorf("%s/a: %v", ref, err)
		}
	}
	if log := w.logged(); strings.Count(log, seal.ErrLocked.Error()) != 1 || !strings.Contains(log, string(locked.ID)) {
		t.Errorf("the log:\n%s", log)
	}
	w.mu.Lock()
	clear(w.refuse)
	w.mu.Unlock()
	w.later(time.Minute)
	must(t, statOf(w.path(locked, "a")))
}

func TestDamageHitsWhatItIsIn(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	content := random(6<<20, 3)
	write(t, dir, map[string]string{"large": content, "small": "1"})
	ref := w.add(t, "app", dir, 1)
	at := strings.Index(string(w.data[ref]), content[2<<20:2<<20+64])
	w.data[ref][at] ^= 1
	w.show(t, mount.Options{})
	f, err := os.Open(w.path(ref, "large"))
	must(t, err)
	defer f.Close()
	for i := range int64(6) {
		p := make([]byte, 4096)
		_, err := f.ReadAt(p, i<<20+512<<10)
		if (i == 2) != errors.Is(err, unix.EIO) || i != 2 && string(p) != content[i<<20+512<<10:][:4096] {
			t.Errorf("MiB %d: %v", i, err)
		}
	}
	if data, err := os.ReadFile(w.path(ref, "small")); string(data) != "1" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	if log := w.logged(); !strings.Contains(log, "damaged") || !strings.Contains(log, string(ref.ID)) || !strings.Contains(log, "large") {
		t.Errorf("the log:\n%s", log)
	}
}

func TestUnmountedByOthers(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	ref := w.add(t, "app", dir, 1)
	w.show(t, mount.Options{})
	must(t, statOf(w.path(ref)))
	must(t, unix.Unmount(w.dir, 0))
	// The clean-up of show looks what Run gave.
}

func TestFilesThatAreOpenAtTheEnd(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	content := random(4<<20, 4)
	write(t, dir, map[string]string{"large": content})
	ref := w.add(t, "app", dir, 1)
	stop := w.show(t, mount.Options{})
	f, err := os.Open(w.path(ref, "large"))
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	testenv.Eventually(t, "the folder is empty", func() bool { return len(names(t, w.dir)) == 0 })
	data, err := io.ReadAll(f)
	if err != nil || string(data) != content {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	select {
	case err := <-ended:
		t.Errorf("it has ended while a file is open: %v", err)
	default:
	}
	must(t, f.Close())
	must(t, <-ended)
	if !strings.Contains(w.logged(), "in use") {
		t.Errorf("the log:\n%s", w.logged())
	}
}

func TestPlacesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"full/file": ""})
	for path, want := range map[string]string{"none": "make it", "full": "is not empty", "full/file": "is no folder"} {
		err := mount.Run(context.Background(), filepath.Join(dir, path), newWorld(), mount.Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Many read at the same time, of more snapshots than stay open.
func TestManyReaders(t *testing.T) {
	w, dir := newWorld(), everything(t)
	var refs []string // paths below the folder
	for day := 1; day <= 12; day++ {
		refs = append(refs, w.path(w.add(t, "app", dir, day)))
	}
	w.show(t, mount.Options{})
	want, err := os.ReadFile(filepath.Join(dir, "large"))
	must(t, err)
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			root := filepath.Join(w.dir, refs[i%len(refs)])
			data, err := os.ReadFile(filepath.Join(root, "large"))
			if err != nil || string(data) != string(want) {
				t.Errorf("%s: %d bytes, %v", root, len(data), err)
			}
			if entries, err := os.ReadDir(filepath.Join(root, "d")); err != nil || len(entries) != 503 {
				t.Errorf("%s: %d entries, %v", root, len(entries), err)
			}
			for n := range 50 {
				text, err := os.ReadFile(filepath.Join(root, "d", fmt.Sprintf("f%03d", n*10)))
				if err != nil || string(text) != fmt.Sprint(n*10) {
					t.Errorf("%s: %q, %v", root, text, err)
				}
			}
		})
	}
	all.Wait()
}
