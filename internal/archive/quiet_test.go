package archive

import (
	"bytes"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/testenv"
)

// resident tells of each page of a file whether it is in memory, without moving any.
func resident(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	st, err := f.Stat()
	must(t, err)
	if st.Size() == 0 {
		return nil
	}
	mapped, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
	must(t, err)
	defer func() { must(t, unix.Munmap(mapped)) }()
	pages := make([]byte, (len(mapped)+os.Getpagesize()-1)/os.Getpagesize())
	must(t, mincore(mapped, pages))
	for i := range pages {
		pages[i] &= 1
	}
	return pages
}

// cold makes a file that is on disk only, apart from the pieces of 1 MiB that are named.
func cold(t testing.TB, path string, size int, hot ...int) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	_, err = io.WriteString(f, strings.Repeat("words and words ", size/16))
	must(t, err)
	must(t, f.Sync())
	must(t, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
	must(t, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM)) // nothing is read ahead
	for _, at := range hot {
		_, err := f.ReadAt(make([]byte, 1<<20), int64(at)<<20)
		must(t, err)
	}
}

func TestReadingLeavesThePageCacheAsItWas(t *testing.T) {
	for name, byHand := range map[string]bool{"by the kernel": false, "by hand": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cold(t, filepath.Join(dir, "all cold"), 24<<20)
			cold(t, filepath.Join(dir, "some hot"), 24<<20, 0, 7, 8, 23)
			cold(t, filepath.Join(dir, "all hot"), 3<<20, 0, 1, 2)
			cold(t, filepath.Join(dir, "small and cold"), 48<<10)
			before := make(map[string]string)
			for _, p := range paths(t, dir) {
				before[p] = string(resident(t, filepath.Join(dir, p)))
			}
			if strings.Count(before["all cold"], "\x01") > 0 || strings.Count(before["some hot"], "\x01") != 1024 {
				testenv.Missing(t, "a file system whose pages can be dropped", dir)
			}
			r := &dataReader{quiet: quietReader{byHand: byHand}}
			drained(t, r, dir)
			if r.quiet.byHand && !byHand {
				testenv.Missing(t, "RWF_DONTCACHE")
			}
			for _, p := range paths(t, dir) {
				was, is := before[p], string(resident(t, filepath.Join(dir, p)))
				var in, out int
				for i := range was {
					in += int(is[i] &^ was[i])
					out += int(was[i] &^ is[i])
				}
				if in > 0 || out > 0 {
					t.Errorf("%s: of %d pages %d came in and %d went out", p, len(was), in, out)
				}
			}
		})
	}
}

func TestWritingLetsGoOfWhatIsOnDisk(t *testing.T) {
	want := []byte(strings.Repeat("words and words ", 24<<20/16))
	for name, loud := range map[string]bool{"by the kernel": false, "as everybody does": true} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			f, err := os.Create(path)
			must(t, err)
			defer f.Close()
			q := &quietWriter{loud: loud}
			for at := 0; at < len(want); at += 1 << 20 {
				must(t, q.writeAt(int(f.Fd()), want[at:at+1<<20], int64(at)))
			}
			must(t, f.Sync())
			if q.loud && !loud {
				testenv.Missing(t, "RWF_DONTCACHE")
			}
			pages := resident(t, path)
			left := bytes.Count(pages, []byte{1})
			if !loud && left > len(pages)/10 {
				t.Errorf("%d of %d pages are still in memory", left, len(pages))
			}
			got, err := os.ReadFile(path)
			must(t, err)
			if !bytes.Equal(got, want) {
				t.Error("what was written is not what is there")
			}
		})
	}
}

// drained writes the archive of a folder to nowhere.
func drained(t testing.TB, r *dataReader, dir string) {
	t.Helper()
	l := newLine(1)
	w := newWalker("")
	w.out = &direct{packer{line: l}, r}
	go l.work(func(*block) {})
	done := make(chan error)
	go func() {
		defer l.close()
		done <- w.archive(t.Context(), dir)
	}()
	go func() {
		for {
			b, err := l.next()
			if err != nil {
				return
			}
			l.release(b)
		}
	}()
	must(t, <-done)
}

func TestAFileUnderALeaseIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"leased": "data"})
	f, err := os.OpenFile(filepath.Join(dir, "leased"), os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGIO)
	defer signal.Stop(asked)
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		testenv.Missing(t, "leases", err.Error())
	}
	fd := f.Fd()
	var holder sync.WaitGroup
	holder.Go(func() {
		<-asked
		if _, err := unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_UNLCK); err != nil {
			t.Error(err)
		}
	})
	data, _ := archived(t, dir, Options{})
	holder.Wait()
	if got := restored(t, data)["leased"]; got != "data" {
		t.Errorf("restored %q", got)
	}
}
