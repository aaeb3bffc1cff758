package spool_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/backupd/backupd/internal/spool"
	"github.com/backupd/backupd/internal/testenv"
)

func open(t testing.TB, dir string, limit int64) *spool.Spool {
	t.Helper()
	s, err := spool.New(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// random bytes tell where they are from, as zeros would not.
func random(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data) // never fails
	return data
}

// smallDisk mounts one of so many bytes.
func smallDisk(t *testing.T, size int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(size)); err != nil {
		testenv.Missing(t, "a small disk", err.Error())
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestEveryReaderGetsTheWholeStream(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(rt, "data")
		limit := rapid.Int64Range(1, 6000).Draw(rt, "limit")
		readers := rapid.IntRange(1, 3).Draw(rt, "readers")
		piece := rapid.IntRange(1, 999).Draw(rt, "piece")
		drafted := rapid.IntRange(-1, 6000).Draw(rt, "bytes that the draft takes")
		s, err := spool.New(dir, limit)
		if err != nil {
			rt.Fatal(err)
		}
		defer s.Close()
		d := newDraft(t, dir, drafted)
		if drafted >= 0 {
			s.Through(d)
		}
		var rs []*spool.Reader
		for range readers {
			rs = append(rs, s.Reader("target"))
		}
		var g errgroup.Group
		g.Go(func() error {
			_, err := io.CopyBuffer(struct{ io.Writer }{s}, struct{ io.Reader }{bytes.NewReader(data)}, make([]byte, piece))
			s.End(nil)
			return err
		})
		for i, r := range rs {
			g.Go(func() error {
				var from io.Reader = r
				if i == 1 {
					from = iotest.OneByteReader(r)
				}
				got, err := io.ReadAll(from)
				if err == nil && !bytes.Equal(got, data) {
					err = errors.New("the stream came out different")
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			rt.Fatal(err)
		}
		if drafted >= 0 {
			d.check(rt, s.Drafted(), data)
		}
	})
}

func TestTheWriterRunsAheadUpToTheLimitAndThenWaits(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, 100)
		fast, slow := s.Reader("fast"), s.Reader("slow")
		waited := ""
		s.Full = func(slowest string) { waited = slowest }
		wrote := make(chan error, 1)
		go func() {
			_, err := s.Write(make([]byte, 150))
			wrote <- err
		}()
		if _, err := io.ReadFull(fast, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(wrote) != 0 || waited != "slow" {
			t.Fatalf("the writer waits for %q, and not for the slow reader", waited)
		}
		if _, err := io.ReadFull(slow, make([]byte, 50)); err != nil {
			t.Fatal(err)
		}
		if err := <-wrote; err != nil {
			t.Fatal(err)
		}
	})
}

func TestAReaderThatTakesNothingIsDroppedWhereOthersWantTheStream(t *testing.T) {
	dir := t.TempDir()
	const patience = time.Minute
	for name, c := range map[string]struct {
		every time.Duration // that the slow reader takes something
		alone bool
		want  string // who is dropped
	}{
		"takes nothing": {every: time.Hour, want: "slow"},
		"takes little":  {every: patience - 1},
		"is alone":      {every: time.Hour, alone: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dropped := open(t, dir, 10), make(chan string, 2)
				s.Patience = func() time.Duration { return patience }
				s.Dropped = func(reader string) { dropped <- reader }
				slow := s.Reader("slow")
				if !c.alone {
					fast := s.Reader("fast")
					go func() { _, _ = io.Copy(io.Discard, fast) }()
				}
				go func() {
					for err := error(nil); err == nil; {
						time.Sleep(c.every)
						_, err = slow.Read(make([]byte, 1))
					}
				}()
				_, err := s.Write(make([]byte, 20))
				s.End(err)
				synctest.Wait()
				if err != nil {
					t.Error(err)
				}
				close(dropped)
				if got := <-dropped; got != c.want {
					t.Errorf("dropped %q, want %q", got, c.want)
				}
				time.Sleep(100 * time.Hour) // which ends who reads
			})
		})
	}
}

func TestAReaderThatGivesUpIsNotWaitedFor(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, 10)
		first, second := s.Reader("first"), s.Reader("second")
		first.Close()
		go func() {
			synctest.Wait()
			second.Close()
		}()
		if n, err := s.Write(make([]byte, 50)); !errors.Is(err, spool.ErrNoReader) || n != 10 {
			t.Fatalf("wrote %d bytes with error %v, want 10 and %v", n, err, spool.ErrNoReader)
		}
	})
}

func TestAStreamThatFailsNeverLooksComplete(t *testing.T) {
	boom := errors.New("boom")
	s := open(t, t.TempDir(), 100)
	r := s.Reader("target")
	if _, err := s.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	s.End(boom)
	s.End(nil) // too late to make it good
	if _, err := io.ReadAll(r); !errors.Is(err, boom) {
		t.Errorf("read gave %v, want %v", err, boom)
	}
	if _, err := s.Write([]byte("more")); !errors.Is(err, boom) {
		t.Errorf("write gave %v, want %v", err, boom)
	}
}

func TestNothingIsLeftOnDisk(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 100)
	s.Reader("target")
	if _, err := s.Write([]byte("data")); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("found %v (%v) in the spool's folder", left, err)
	}
}

func TestADiskThatFillsUpShrinksTheSpool(t *testing.T) {
	const disk = 1 << 20
	s := open(t, smallDisk(t, disk), 1<<30)
	r := s.Reader("target")
	data := random(5*disk + 12345)
	var g errgroup.Group
	g.Go(func() error {
		_, err := s.Write(data)
		s.End(err)
		return err
	})
	got, err := io.ReadAll(r)
	if err := errors.Join(err, g.Wait()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data) {
		t.Error("the stream came out different")
	}
}
