package spool

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/backupd/backupd/internal/targets"
)

// Keep is described at targets.Rereader. What lies in a draft takes no room; in the ring, what is kept is room that the writer lacks.
func (r *Reader) Keep(from int64) { r.moved(func() { r.kept = from }) }

// ReadAt is described at targets.Rereader.
func (r *Reader) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		from, at, size, err := r.again(off+int64(n), int64(len(p)-n))
		if err != nil {
			return n, err
		}
		m, err := from.ReadAt(p[n:n+int(size)], at)
		n += m
		if err != nil {
			return n, fmt.Errorf("read from spool again: %w", err)
		}
	}
	return n, nil
}

// again tells where bytes are that were read before.
func (r *Reader) again(off, want int64) (from io.ReaderAt, at, n int64, err error) {
	s := r.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.closed || s.closed:
		return nil, 0, 0, os.ErrClosed
	case s.ended && s.err != nil:
		return nil, 0, 0, s.err
	case off < r.kept:
		return nil, 0, 0, errors.New("read from spool again: it was not kept")
	case off >= r.pos:
		return nil, 0, 0, io.EOF
	}
	from, at, n = s.place(off, min(want, r.pos-off))
	return from, at, n, nil
}

// place tells where bytes of the stream are, and how many of those that are wanted lie there together.
func (s *Spool) place(off, want int64) (from io.ReaderAt, at, n int64) {
	if off < s.base {
		return s.draft, off, min(want, s.base-off)
	}
	at = (off - s.base) % s.limit
	return s.ring, at, min(want, s.written-off, s.limit-at)
}

// need is where that begins which the reader needs.
func (r *Reader) need() int64 { return min(r.pos, r.kept) }

// Awaited is described at targets.Rereader.
func (r *Reader) Awaited() bool {
	r.spool.mu.Lock()
	defer r.spool.mu.Unlock()
	return r.awaited()
}

// awaited tells whether the writer can go on only once this reader needs less.
func (r *Reader) awaited() bool { return r.spool.waiting && r.spool.slowest() == r }

var _ targets.Rereader = (*Reader)(nil)
