package sftp

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
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/sftp/sftptest"
	"github.com/backupd/backupd/internal/targets/targetstest"
)

// line is what lies between a store and its server. Each connection carries a number of bytes, of both directions together, and then
// breaks, or goes silent.
type line struct {
	address string
	server  string
	silent  bool
	broken  func() // nil for nobody to be told of it

	mu      sync.Mutex
	budgets []int // of connections to come; those beyond have none
}

func newLine(t *testing.T, server *sftptest.Server) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &line{address: l.Addr().String(), server: server.Address}
	var carried sync.WaitGroup
	carried.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed below
			}
			carried.Go(func() { a.carry(t, conn) })
		}
	})
	t.Cleanup(func() { l.Close(); carried.Wait() })
	return a
}

func (a *line) breaksAfter(budgets ...int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.budgets = budgets
}

func (a *line) budget() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.budgets) == 0 {
		return 1 << 40
	}
	n := a.budgets[0]
	a.budgets = a.budgets[1:]
	return n
}

func (a *line) carry(t *testing.T, client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", a.server)
	if err != nil {
		t.Log(err)
		return
	}
	defer server.Close()
	left, mu := a.budget(), sync.Mutex{}
	take := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		n = min(n, left)
		left -= n
		return n
	}
	pump := func(to, from net.Conn) {
		buf := make([]byte, 16<<10)
		for {
			n, err := from.Read(buf)
			pass := take(n)
			_, writeErr := to.Write(buf[:pass])
			if pass < n && a.broken != nil {
				a.broken()
			}
			if pass < n && a.silent {
				_, _ = io.Copy(io.Discard, from) // until somebody has enough of it
				err = io.EOF
			}
			if err != nil || writeErr != nil || pass < n {
				_ = client.Close()
				_ = server.Close()
				return
			}
		}
	}
	var g sync.WaitGroup
	g.Go(func() { pump(server, client) })
	g.Go(func() { pump(client, server) })
	g.Wait()
}

func TestALineThatBreaks(t *testing.T) {
	server := sftptest.Start(t)
	for name, silent := range map[string]bool{"off": false, "and says nothing": true} {
		t.Run(name, func(t *testing.T) {
			dir, line := t.TempDir(), newLine(t, server)
			line.silent = silent
			s := checked(t, openAt(t, server.URLAt(line.address, dir+"/target")))
			want := targetstest.Random(targetstest.Large)
			s.drop(s.latest)
			line.breaksAfter(9_000_000, 2_000_000, 100_000, 8_000_000)
			if err := s.Put(t.Context(), "a/key", bytes.NewReader(want)); err != nil {
				t.Fatal(err)
			}
			s.drop(s.latest)
			line.breaksAfter(9_000_000, 2_000_000, 100_000, 8_000_000)
			if got, err := targetstest.Read(t, s, "a/key"); err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %d bytes, %v, want the %d that were put", len(got), err, len(want))
			}
			wantNoPartials(t, dir)
		})
	}
}

// An answer may be lost anywhere: what Put says is true all the same, and what it has put once is there once.
func TestPutTellsTheTruthWhereverTheLineBreaks(t *testing.T) {
	server := sftptest.Start(t)
	dir, line := t.TempDir(), newLine(t, server)
	s := checked(t, openAt(t, server.URLAt(line.address, dir+"/target")))
	done := 0
	for budget := 2500; budget < 14_000; budget += 97 {
		s.drop(s.latest)
		s.latest = nil
		line.breaksAfter(budget)
		key := fmt.Sprintf("a/%d", budget)
		err := s.Put(t.Context(), key, strings.NewReader("content"))
		line.breaksAfter()
		got, getErr := targetstest.Read(t, s, key)
		switch {
		case err == nil:
			done++
			if getErr != nil || string(got) != "content" {
				t.Errorf("broken after %d bytes: put is done, and get gives %q, %v", budget, got, getErr)
			}
		case !errors.Is(getErr, fs.ErrNotExist):
			t.Errorf("broken after %d bytes: put gives %v, and get %q, %v", budget, err, got, getErr)
		}
		wantNoPartials(t, dir)
	}
	if done < 70 {
		t.Errorf("only %d puts came to their end", done)
	}
}

func TestAServerThatIsGone(t *testing.T) {
	server := sftptest.Start(t)
	dir, line := t.TempDir(), newLine(t, server)
	s := checked(t, openAt(t, server.URLAt(line.address, dir+"/target")))
	s.drop(s.latest)
	line.breaksAfter(1_000_000, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	err := s.Put(t.Context(), "key", bytes.NewReader(targetstest.Random(8<<20)))
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), line.address) {
		t.Errorf("put: %v, want an error that names the server", err)
	}
	line.breaksAfter()
	if _, err := targetstest.Read(t, s, "key"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get: %v, want fs.ErrNotExist", err)
	}
}

// Who gives up need not wait for a server that says nothing.
func TestAContextThatEndsOnASilentLine(t *testing.T) {
	server := sftptest.Start(t)
	dir, line := t.TempDir(), newLine(t, server)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	line.silent, line.broken = true, func() { cancel(why) }
	patient := soon
	patient.interval = time.Hour
	s, err := open(server.URLAt(line.address, dir+"/target"), patient)
	if err != nil {
		t.Fatal(err)
	}
	checked(t, s)
	s.drop(s.latest)
	line.breaksAfter(1_000_000)
	if err := s.Put(ctx, "key", bytes.NewReader(targetstest.Random(targetstest.Large))); !errors.Is(err, why) {
		t.Errorf("put: %v, want %v", err, why)
	}
	if _, err := targetstest.Read(t, s, "key"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get: %v, want fs.ErrNotExist", err)
	}
	wantNoPartials(t, dir)
	s.drop(s.latest)
}

func TestATargetFolderThatIsGone(t *testing.T) {
	server := sftptest.Start(t)
	dir := t.TempDir()
	s := checked(t, openAt(t, server.URL(dir+"/target")))
	if err := os.RemoveAll(dir + "/target"); err != nil {
		t.Fatal(err)
	}
	const want = "is its disk not mounted?"
	if err := s.Put(t.Context(), "a/b", strings.NewReader("x")); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("put: %v, want %q", err, want)
	}
	if _, err := s.Get(t.Context(), "a/b", 0, -1); errors.Is(err, fs.ErrNotExist) || err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("get: %v, want %q", err, want)
	}
	for _, err := range s.List(t.Context(), "a/") {
		if errors.Is(err, fs.ErrNotExist) || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("list: %v, want %q", err, want)
		}
	}
}

// begun gives an object of three chunks of which the first bytes have been read.
func begun(t *testing.T, s *Store) io.Reader {
	t.Helper()
	if err := s.Put(t.Context(), "key", bytes.NewReader(targetstest.Random(3*chunk))); err != nil {
		t.Fatal(err)
	}
	r, err := s.Get(t.Context(), "key", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnObjectThatIsCutWhileItIsRead(t *testing.T) {
	server := sftptest.Start(t)
	dir := t.TempDir()
	s := checked(t, openAt(t, server.URL(dir+"/target")))
	r := begun(t, s)
	if err := os.Truncate(filepath.Join(dir, "target", "key"), chunk+1); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read: %v, want io.ErrUnexpectedEOF", err)
	}
}

// A connection that broke is made anew, and must not give another object for the rest of one.
func TestAnObjectThatChangesWhileItIsRead(t *testing.T) {
	server := sftptest.Start(t)
	dir := t.TempDir()
	s := checked(t, openAt(t, server.URL(dir+"/target")))
	r := begun(t, s)
	file := filepath.Join(dir, "target", "key")
	err := os.Remove(file)
	if err := errors.Join(err, os.WriteFile(file, make([]byte, 3*chunk+1), 0o600)); err != nil {
		t.Fatal(err)
	}
	s.drop(s.latest)
	if _, err := io.Copy(io.Discard, r); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("read: %v, want it to tell that the object was changed", err)
	}
}

func TestWhatOthersPutThere(t *testing.T) {
	server := sftptest.Start(t)
	dir := t.TempDir()
	s := checked(t, openAt(t, server.URL(dir+"/target")))
	target := filepath.Join(dir, "target")
	err := errors.Join(os.WriteFile(target+"/a\nb", nil, 0o600), os.WriteFile(target+"/kept", nil, 0o600), os.Symlink("/etc/passwd", target+"/link"),
		os.Symlink("/", target+"/root"), os.Mkdir(target+"/folder", 0o700), syscall.Mkfifo(target+"/pipe", 0o600))
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for o, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	if !slices.Equal(keys, []string{"kept"}) {
		t.Errorf("listed %q", keys)
	}
	for _, key := range []string{"folder", "pipe"} {
		if _, err := targetstest.Read(t, s, key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("get %s: %v, want fs.ErrNotExist", key, err)
		}
	}
	for name, good := range map[string]bool{"a": true, "...": true, "a/b": false, "..": false, "": false, "/etc/passwd": false, "a\x00": false} {
		if err := targets.CheckName(name); (err == nil) != good {
			t.Errorf("a name that the server tells, %q: %v", name, err)
		}
	}
}
