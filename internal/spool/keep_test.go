package spool_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"testing"

	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"github.com/backupd/backupd/internal/spool"
	"github.com/backupd/backupd/internal/targets"
)

// TestWhatIsKeptCanBeReadAgain has one reader keep pieces, and read each again before it lets go of it, beside one that does not.
func TestWhatIsKeptCanBeReadAgain(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(rt, "data")
		limit := rapid.Int64Range(1, 6000).Draw(rt, "limit")
		piece := rapid.IntRange(1, 999).Draw(rt, "piece")
		drafted := rapid.IntRange(-1, 6000).Draw(rt, "bytes that the draft takes")
		s, err := spool.New(dir, limit)
		if err != nil {
			rt.Fatal(err)
		}
		defer s.Close()
		if drafted >= 0 {
			s.Through(newDraft(t, dir, drafted))
		}
		keeps, plain := s.Reader("keeps"), s.Reader("plain")
		var g errgroup.Group
		g.Go(func() error {
			_, err := s.Write(data)
			s.End(err)
			return err
		})
		g.Go(func() error { return readsTwice(keeps, piece, data) })
		g.Go(func() error {
			got, err := io.ReadAll(plain)
			if err == nil && !bytes.Equal(got, data) {
				err = errors.New("other bytes came")
			}
			return err
		})
		if err := g.Wait(); err != nil {
			rt.Fatal(err)
		}
	})
}

func readsTwice(r *spool.Reader, piece int, data []byte) error {
	begin, got := int64(0), []byte(nil)
	r.Keep(0)
	for {
		buf := make([]byte, piece)
		n, err := r.Read(buf)
		got = append(got, buf[:n]...)
		if err == nil && len(got)-int(begin) < piece {
			continue
		}
		again := make([]byte, len(got)-int(begin))
		if _, err := r.ReadAt(again, begin); err != nil {
			return err
		}
		if !bytes.Equal(again, got[begin:]) {
			return errors.New("other bytes came back")
		}
		begin = int64(len(got))
		r.Keep(begin)
		switch {
		case err == io.EOF && bytes.Equal(got, data):
			return nil
		case err != nil && !errors.Is(err, targets.ErrNoRoom):
			return err
		}
	}
}

func TestWhatIsNotKeptIsNotReadAgain(t *testing.T) {
	s := open(t, t.TempDir(), 100)
	r := s.Reader("target")
	if _, err := s.Write([]byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	r.Keep(0)
	if _, err := io.ReadFull(r, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 8)
	if n, err := r.ReadAt(buf, 4); n != 4 || err != io.EOF {
		t.Errorf("beyond what was read: %d bytes, %v, want 4 and io.EOF", n, err)
	}
	r.Keep(5)
	if _, err := r.ReadAt(buf[:1], 4); err == nil {
		t.Error("what was let go can be read")
	}
	r.Keep(math.MaxInt64)
	if _, err := r.ReadAt(buf[:1], 5); err == nil {
		t.Error("nothing is kept, and can be read")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadAt(buf[:1], 5); !errors.Is(err, os.ErrClosed) {
		t.Errorf("of one that was closed: %v, want os.ErrClosed", err)
	}
}
