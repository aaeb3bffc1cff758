package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/folder"
	"github.com/backupd/backupd/internal/recognise"
	"github.com/backupd/backupd/internal/remote"
)

// serve gives a folder, and what leads to a process that serves it. The function waits for what the service came to.
func serve(t *testing.T, dir string) (*remote.Folder, *net.TCPConn, func() error) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	here, err := net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	there, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		err := remote.Serve(context.WithoutCancel(t.Context()), there, there, folder.At(dir, false), later)
		done <- errors.Join(err, there.Close())
	}()
	f := remote.Dial(here)
	wait := func() error {
		_ = f.Close() // it may be closed already
		return <-done
	}
	return f, here, wait
}

// later is a clock by which nothing was written for long.
func later() time.Time { return time.Now().AddDate(100, 0, 0) }

// odd is a folder with names that are no text, and with much to read.
func odd(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, size := range map[string]int{"caf\xe9": 3, "new\nline": 0, "big": 5 << 20, "sub/deep": 100} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, bytes.Repeat([]byte(name), size), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func create(t *testing.T, dir string, o archive.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := archive.Create(t.Context(), dir, &b, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tar is the plain tar of a folder: its index tells two copies apart by when they were made.
func tar(t *testing.T, dir string) string {
	t.Helper()
	return tarOf(t, create(t, dir, archive.Options{Exclude: []string{".backupd-*"}}))
}

// tarOf is what an archive holds.
func tarOf(t *testing.T, data []byte) string {
	t.Helper()
	src := func(_ context.Context, off, n int64) (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(bytes.NewReader(data), off, n)), nil
	}
	r, err := archive.Open(t.Context(), src, int64(len(data)), archive.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var b strings.Builder
	if err := r.Tar(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// take makes the archive of a folder elsewhere.
func take(t *testing.T, f *remote.Folder, w io.Writer, o archive.Options) (folder.Summary, error) {
	taking, err := f.Take(t.Context(), w, o)
	if err != nil {
		return folder.Summary{}, err
	}
	defer taking.Close()
	return taking.Finish(t.Context())
}

// stored is an archive to restore from; reading it ends with err, if that is not nil.
type stored struct {
	data []byte
	err  error
	size int64
	o    archive.ExtractOptions
}

func (s stored) Size() int64 { return s.size }

func (s stored) Part() bool { return len(s.o.Paths) > 0 }

func (s stored) Extract(context.Context, string) (archive.Report, error) {
	panic("the folder is elsewhere")
}

func (s stored) Send(_ context.Context, to func(io.Reader, archive.ExtractOptions) (archive.Report, error)) (archive.Report, error) {
	r := io.Reader(bytes.NewReader(s.data))
	if s.err != nil {
		r = io.MultiReader(r, broken{s.err})
	}
	return to(r, s.o)
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

func empty(t *testing.T, dir string) bool {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries) == 0
}

func TestAFolderElsewhereIsReadAsOneHere(t *testing.T) {
	dir := odd(t)
	f, _, wait := serve(t, dir)
	o := archive.Options{Level: archive.Default, Exclude: []string{"caf\xe9"}}
	o.Clock, o.Prove = time.Now, true // of the other machine
	var last int64
	o.Progress = func(read int64) { last = read }
	for range 2 { // one after the other
		var got bytes.Buffer
		sum, err := take(t, f, &got, o)
		if err != nil {
			t.Fatal(err)
		}
		if want := tarOf(t, create(t, dir, archive.Options{Exclude: o.Exclude})); tarOf(t, got.Bytes()) != want || sum.Stored != int64(got.Len()) {
			t.Errorf("got %d bytes, told of %d, or it is another tar", got.Len(), sum.Stored)
		}
		if !sum.Still {
			t.Error("nothing moved, and that is not proven")
		}
		if last < 1<<20 {
			t.Errorf("progress was told up to %d", last)
		}
	}
	if empty, err := f.Empty(t.Context()); err != nil || empty {
		t.Errorf("empty: %t, %v", empty, err)
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
}

func TestDatabasesElsewhereAreRecognised(t *testing.T) {
	dir := t.TempDir()
	state := "SQLite format 3\x00" + strings.Repeat("\x00", 1<<20-16)
	for name, data := range map[string]string{"app/state": state, "PG_VERSION": "15\n", "global/pg_control": "?"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(data), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	f, _, wait := serve(t, dir)
	sum, err := take(t, f, io.Discard, archive.Options{})
	if err := errors.Join(err, wait()); err != nil {
		t.Fatal(err)
	}
	want := []recognise.Find{{Kind: recognise.PostgreSQL, Folder: ".", Version: "15"}, {Kind: recognise.SQLite, Folder: "app", File: "state"}}
	if diff := cmp.Diff(want, sum.Databases); diff != "" {
		t.Error("databases (-want +got):\n" + diff)
	}
}

func TestAFolderElsewhereIsFilled(t *testing.T) {
	from, dir := odd(t), t.TempDir()
	f, _, wait := serve(t, dir)
	data := create(t, from, archive.Options{})
	for name, broke := range map[string]struct {
		from stored
		is   error
	}{
		"a source that breaks at its end": {stored{data: data, err: errTorn}, errTorn},
		"a source that breaks midway":     {stored{data: data[:len(data)/2], err: errTorn}, errTorn},
		"an archive that is cut off":      {stored{data: data[:len(data)/2]}, io.ErrUnexpectedEOF},
		"more than the disk has":          {stored{data: data, size: 1 << 62}, syscall.ENOSPC},
		"nothing of what is wanted":       {stored{data: data, o: archive.ExtractOptions{Paths: []string{"nope"}}}, folder.ErrNothing},
	} {
		if _, err := f.Fill(t.Context(), broke.from); err == nil || !errors.Is(err, broke.is) && !strings.Contains(err.Error(), broke.is.Error()) {
			t.Errorf("%s: error %v, want %v", name, err, broke.is)
		}
		if !empty(t, dir) {
			t.Errorf("%s: something is left", name)
		}
	}
	// Whatever went wrong before, the other end is still of use.
	if _, err := f.Fill(t.Context(), stored{data: data}); err != nil {
		t.Fatal(err)
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
	if tar(t, dir) != tar(t, from) {
		t.Error("it is not what was stored")
	}
}

var errTorn = errors.New("torn")

func TestWhatIsElsewhereIsExchanged(t *testing.T) {
	from, dir := odd(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "old"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	data := create(t, from, archive.Options{})
	f, _, wait := serve(t, dir)
	// Staged, and not exchanged: with the end of the service the stage goes.
	s, _, err := f.Stage(t.Context(), stored{data: data})
	if err != nil || !strings.HasPrefix(s.Where(), dir) {
		t.Fatalf("%v in %q", err, s.Where())
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
		t.Errorf("there are %q (%v)", left, err)
	}

	f, _, wait = serve(t, dir)
	s, _, err = f.Stage(t.Context(), stored{data: data})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Exchange(t.Context()), wait()); err != nil {
		t.Fatal(err)
	}
	restored := tar(t, from)
	if tar(t, dir) != restored {
		t.Error("it is not what was stored")
	}

	// What was replaced stays when the service ends, and there is a way back, and there again.
	f, _, wait = serve(t, dir)
	s, err = f.Replaced(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Exchange(t.Context()), s.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "[^.]*")); err != nil || len(left) != 1 || filepath.Base(left[0]) != "old" {
		t.Errorf("there are %q (%v)", left, err)
	}
	if s, err = f.Replaced(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Exchange(t.Context()), s.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	if settled, err := f.Settle(t.Context()); err != nil || settled {
		t.Errorf("something was to be settled: %v, %v", settled, err)
	}
	if dropped, err := f.Drop(t.Context(), time.Now().Add(time.Minute)); err != nil || dropped != 1 {
		t.Errorf("%d generations were dropped: %v", dropped, err)
	}
	if _, err := f.Replaced(t.Context(), false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is kept: %v", err)
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
	if tar(t, dir) != restored {
		t.Error("it is not what was stored")
	}
}

// Whoever asks may be gone at any moment: then the service ends, and the folder is what it was.
func TestTheServiceEndsWithItsClient(t *testing.T) {
	from := odd(t)
	data := create(t, from, archive.Options{})
	for name, use := range map[string]func(t *testing.T, f *remote.Folder, leave func()) error{
		"while it is read": func(t *testing.T, f *remote.Folder, leave func()) error {
			_, err := take(t, f, leaving{leave}, archive.Options{ReadLimit: 1 << 20}) // for five seconds
			return err
		},
		"while it is filled": func(t *testing.T, f *remote.Folder, leave func()) error {
			_, err := f.Fill(t.Context(), source(func(to func(io.Reader, archive.ExtractOptions) (archive.Report, error)) (archive.Report, error) {
				return to(io.MultiReader(bytes.NewReader(data[:len(data)-10]), leavingReader{leave}, bytes.NewReader(data)), archive.ExtractOptions{})
			}))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if name == "while it is read" {
				dir = from
			}
			f, conn, wait := serve(t, dir)
			if err := use(t, f, func() { _ = conn.Close() }); err == nil {
				t.Error("it succeeded all the same")
			}
			if err := wait(); err == nil {
				t.Error("the service took it for a regular end")
			}
			if dir != from && !empty(t, dir) {
				t.Error("something is left")
			}
		})
	}
}

type source func(to func(io.Reader, archive.ExtractOptions) (archive.Report, error)) (archive.Report, error)

func (source) Size() int64 { return 0 }

func (source) Part() bool { return false }
func (source) Extract(context.Context, string) (archive.Report, error) {
	panic("the folder is elsewhere")
}
func (s source) Send(_ context.Context, to func(io.Reader, archive.ExtractOptions) (archive.Report, error)) (archive.Report, error) {
	return s(to)
}

type leaving struct{ leave func() }

func (l leaving) Write(p []byte) (int, error) { l.leave(); return len(p), nil }

type leavingReader struct{ leave func() }

func (l leavingReader) Read([]byte) (int, error) { l.leave(); return 0, io.EOF }

func TestACancelledFillIsPutInOrder(t *testing.T) {
	dir := t.TempDir()
	data := create(t, odd(t), archive.Options{})
	f, _, wait := serve(t, dir)
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := f.Fill(ctx, source(func(to func(io.Reader, archive.ExtractOptions) (archive.Report, error)) (archive.Report, error) {
		return to(io.MultiReader(bytes.NewReader(data[:len(data)/2]), leavingReader{func() { cancel(errTorn) }}, bytes.NewReader(data[len(data)/2:])), archive.ExtractOptions{})
	}))
	if !errors.Is(err, errTorn) {
		t.Errorf("error %v", err)
	}
	if !empty(t, dir) {
		t.Error("something is left")
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
}

// What callers branch on survives the way.
func TestErrorsFromElsewhere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	f, _, wait := serve(t, dir)
	if _, err := take(t, f, io.Discard, archive.Options{}); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("create: %v", err)
	}
	if _, err := f.Empty(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("empty: %v", err)
	}
	if _, err := take(t, f, io.Discard, archive.Options{Exclude: []string{"["}}); err == nil || !strings.Contains(err.Error(), "exclude") {
		t.Errorf("create: %v", err)
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
}

func TestRubbishIsNoRequest(t *testing.T) {
	for _, rubbish := range []string{"p\x00\x00\x00\x01x", "m\xff\xff\xff\xff", "m\x00\x00\x00\x02\x01\x02", "m\x00", "GET / HTTP/1.1\r\n\r\n"} {
		t.Run(fmt.Sprintf("%q", rubbish), func(t *testing.T) {
			var out bytes.Buffer
			if err := remote.Serve(t.Context(), strings.NewReader(rubbish), &out, folder.At(t.TempDir(), false), later); err == nil {
				t.Error("it was taken for a request")
			}
			if diff := cmp.Diff(0, out.Len()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatIsInAFolderIsListed(t *testing.T) {
	dir := odd(t)
	f, _, wait := serve(t, dir)
	for c, err := range archive.Changes(f.Entries(t.Context()), archive.Walk(t.Context(), dir, archive.Options{})) {
		if err != nil {
			t.Fatal(err)
		}
		t.Errorf("%s: %s", c.Path, c.What)
	}
	n := 0
	for range f.Entries(t.Context()) {
		if n++; n == 2 {
			break
		}
	}
	if empty, err := f.Empty(t.Context()); empty || err != nil { // the stream is where it should be
		t.Errorf("empty: %v (%v)", empty, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for e, err := range f.Entries(t.Context()) {
		if err == nil {
			t.Errorf("%s is in a folder that is gone", e.Path)
		}
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
}
