package spool_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"testing/synctest"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/spool"
)

// draft is a file in which there is room for so many bytes, of those that are written to it.
type draft struct {
	*os.File
	room   int
	closed int
}

var errNoRoom = errors.New("no room in the draft")

// newDraft makes a draft in a file that has no name and goes with the test, as property tests make many.
func newDraft(t *testing.T, dir string, room int) *draft {
	t.Helper()
	f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return &draft{File: f, room: room}
}

func (d *draft) Write(p []byte) (int, error) {
	n, err := d.File.Write(p[:min(len(p), d.room)])
	d.room -= n
	if err == nil && n < len(p) {
		err = errNoRoom
	}
	return n, err
}

func (d *draft) Close() error {
	d.closed++
	return d.File.Close()
}

type fataler interface{ Fatalf(string, ...any) }

// check compares what a spool says of a draft with what lies in it.
func (d *draft) check(t fataler, drafted error, data []byte) {
	switch {
	case errors.Is(drafted, errNoRoom):
		if d.closed != 1 {
			t.Fatalf("a draft of no use was closed %d times", d.closed)
		}
	case drafted != nil:
		t.Fatalf("drafted: %v", drafted)
	default:
		got, err := io.ReadAll(io.NewSectionReader(d, 0, 1<<30))
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("the draft has %d bytes other than the %d of the stream (%v)", len(got), len(data), err)
		}
	}
}

func TestTheWriterIsNeverHeldUpByReadersOfADraft(t *testing.T) {
	dir := t.TempDir()
	s, d, data := open(t, dir, 1), newDraft(t, dir, 1<<20), random(1<<20)
	s.Full = func(slowest string) { t.Errorf("it waited for %q", slowest) }
	s.Through(d)
	r := s.Reader("slow")
	if _, err := s.Write(data); err != nil { // which would never return
		t.Fatal(err)
	}
	s.End(nil)
	d.check(t, s.Drafted(), data)
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if err := s.Close(); err != nil || d.closed != 1 {
		t.Errorf("the draft was closed %d times, %v", d.closed, err)
	}
}

// What a draft has is not lost when it takes no more, and its room is given back as soon as it was read.
func TestADraftThatTakesNoMoreIsReadToItsEnd(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, d, data := open(t, dir, 100), newDraft(t, dir, 1000), random(1200)
		s.Through(d)
		r := s.Reader("slow")
		if _, err := s.Write(data[:1100]); err != nil { // which would never return
			t.Fatal(err)
		}
		wrote := make(chan error, 1)
		go func() {
			_, err := s.Write(data[1100:])
			s.End(err)
			wrote <- err
		}()
		synctest.Wait()
		if err := s.Drafted(); !errors.Is(err, errNoRoom) || len(wrote) != 0 || d.closed != 0 {
			t.Errorf("the draft: %v, closed %d times; the writer ran beyond the limit: %v", err, d.closed, len(wrote) != 0)
		}
		got := make([]byte, 1000)
		if _, err := io.ReadFull(r, got); err != nil || d.closed != 1 {
			t.Errorf("read: %v; the draft was closed %d times", err, d.closed)
		}
		rest, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(append(got, rest...), data) || <-wrote != nil {
			t.Errorf("the stream came out different: %v", err)
		}
	})
}

func TestADraftWithoutReaders(t *testing.T) {
	dir := t.TempDir()
	s, d := open(t, dir, 100), newDraft(t, dir, 1000)
	s.Through(d)
	if n, err := s.Write(random(1200)); !errors.Is(err, spool.ErrNoReader) || n != 1000 || d.closed != 1 {
		t.Errorf("wrote %d bytes, %v, and closed the draft %d times", n, err, d.closed)
	}
	if err := s.Drafted(); !errors.Is(err, errNoRoom) {
		t.Errorf("drafted: %v", err)
	}
}

func TestADraftOfAStreamThatFailsIsNone(t *testing.T) {
	dir := t.TempDir()
	boom := errors.New("boom")
	s := open(t, dir, 100)
	s.Through(newDraft(t, dir, 1000))
	r := s.Reader("target")
	if _, err := s.Write(random(500)); err != nil {
		t.Fatal(err)
	}
	s.End(boom)
	if err := s.Drafted(); !errors.Is(err, boom) {
		t.Errorf("drafted: %v", err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, boom) {
		t.Errorf("read: %v", err)
	}
}

// The draft and the ring share a disk, which the stream does not fit on.
func TestADraftMakesRoomForTheRing(t *testing.T) {
	const disk = 1 << 20
	dir := smallDisk(t, disk)
	s, d, data := open(t, dir, 1<<30), newDraft(t, dir, 1<<30), random(3*disk+12345)
	s.Through(d)
	r := s.Reader("target")
	var g errgroup.Group
	g.Go(func() error {
		_, err := s.Write(data)
		s.End(err)
		return err
	})
	got, err := io.ReadAll(r)
	if err := errors.Join(err, g.Wait()); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if err := s.Drafted(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("drafted: %v", err)
	}
}

// forgetful is a disk that says it has written what it loses.
type forgetful struct{ *draft }

func (f forgetful) Write(p []byte) (int, error) { return f.draft.Write(make([]byte, len(p))) }

func TestADiskThatLosesBytesIsNoticed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 100)
	s.Through(forgetful{newDraft(t, dir, 1000)})
	r := s.Reader("target")
	if _, err := fmt.Fprint(s, "data"); err != nil {
		t.Fatal(err)
	}
	s.End(nil)
	if got, err := io.ReadAll(r); err == nil {
		t.Errorf("read %q as if all were well", got)
	}
}
