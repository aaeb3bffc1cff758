// Package spool lets one writer run ahead of several readers, so that containers need not hold still for as long as the slowest
// target takes.
//
// What is written goes into a draft, where there is one: a file that keeps everything, so that readers may be as far behind as they
// like. Without one, or once it takes no more, it goes into a ring in an unlinked file: bytes that the slowest reader has not read yet
// lie in it, up to a limit. Beyond that the writer waits, and so goes at the pace of the slowest reader. Nothing is left on disk when
// the process dies.
package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoReader is what Write fails with once there is no draft and every reader was closed: nobody wants the rest.
var ErrNoReader = errors.New("no reader is left")

// Spool is a stream of bytes under way from one writer to its readers.
type Spool struct {
	// Full is told for which reader the writer has to wait, each time it does; nil for nobody to be told. It must not use the spool.
	Full func(slowest string)

	// Patience is how long a reader that the writer waits for may take nothing, where the stream is wanted by others too. Then it is closed, and
	// Dropped told of it. nil for as long as it likes. Neither may use the spool.
	Patience func() time.Duration
	Dropped  func(reader string)

	ring  *os.File
	limit int64  // bytes
	sum   uint32 // of what was written

	mu      sync.Mutex
	changed sync.Cond // any of what follows
	base    int64     // position in the stream of the ring's first byte; what comes before is in the draft
	written int64     // position in the stream
	size    int64     // bytes of the ring that have been in use
	ended   bool
	err     error // why it ended; nil for the regular end
	waiting bool  // the writer has to wait until a reader needs less
	readers []*Reader

	draft   Draft // nil without one, and once it is of no use any more
	lacking error // why the draft does not have all of the stream
	closing error // what came of closing it early
	closed  bool
}

// New makes a spool whose ring keeps at most limit bytes, in dir.
func New(dir string, limit int64) (*Spool, error) {
	if limit < 1 {
		return nil, fmt.Errorf("make spool in %s: limit of %d bytes leaves no room", dir, limit)
	}
	file, err := os.CreateTemp(dir, "spool-*")
	if err != nil {
		return nil, fmt.Errorf("make spool: %w", err)
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("make spool: %w", err), file.Close())
	}
	s := &Spool{ring: file, limit: limit}
	s.changed.L = &s.mu
	return s, nil
}

// piece is the most that is written by one call: a disk that is nearly full may refuse a large write whole.
const piece = 256 << 10

// Write adds to the stream, and waits while the ring is full. Where the disk is full before the limit is reached, the spool goes
// on with the room that it has.
func (s *Spool) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		to, room, err := s.room()
		if err != nil {
			return done, err
		}
		n, err := to.Write(p[done : done+int(min(int64(len(p)-done), room, piece))])
		s.sum = crc32.Update(s.sum, castagnoli, p[done:done+n])
		done += n
		s.advance(int64(n))
		if err != nil {
			err = s.mend(err)
		}
		if err != nil {
			return done, fmt.Errorf("write to spool: %w", err)
		}
	}
	return done, nil
}

// castagnoli is what the sums of a stream are made with: readers compare theirs, as a disk that fails gives back what lay there before.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// room waits until there is some, and tells where and how much.
func (s *Spool) room() (to io.Writer, room int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		slowest := s.slowest()
		switch {
		case s.ended && s.err != nil:
			return nil, 0, s.err
		case s.ended:
			return nil, 0, errors.New("write to spool: it has ended")
		case s.drafting():
			return s.draft, math.MaxInt64, nil
		case slowest == nil:
			return nil, 0, ErrNoReader
		}
		if room := s.limit - (s.written - max(slowest.need(), s.base)); room > 0 {
			at := (s.written - s.base) % s.limit
			return io.NewOffsetWriter(s.ring, at), min(room, s.limit-at), nil
		}
		s.waitFor(slowest)
	}
}

// waitFor waits until something has changed.
func (s *Spool) waitFor(slowest *Reader) {
	if s.Full != nil {
		s.Full(slowest.name)
	}
	s.waiting = true
	s.expect(slowest)
	s.changed.Broadcast() // a reader may keep so much that it waits for the writer
	s.changed.Wait()
}

func (s *Spool) advance(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written += n
	if s.drafting() {
		s.base = s.written
	}
	s.size = max(s.size, min(s.written-s.base, s.limit))
	s.changed.Broadcast()
}

// mend finds a way to go on after a write that failed. Without one it gives back the reason.
func (s *Spool) mend(failed error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.drafting():
		s.lacking = failed // its own; the readers go on with the ring
		s.letGo()
		s.changed.Broadcast()
		return nil
	case errors.Is(failed, unix.ENOSPC):
		return s.shrink(failed)
	}
	return failed
}

// shrink makes do with the part of the ring that could be written. What lies in it must have been read before its place can be used
// anew. A draft may lie on the same disk: it goes by then, and what room that makes is tried first. Without any room it gives back full.
func (s *Spool) shrink(full error) error {
	drafted := s.draft != nil
	if !drafted && (s.size == 0 || s.size == s.limit) {
		return full
	}
	for {
		slowest := s.slowest()
		if s.ended || slowest == nil {
			return nil // room tells why
		}
		if slowest.need() == s.written {
			break
		}
		s.waitFor(slowest)
	}
	s.base = s.written
	if !drafted {
		s.limit = s.size
	}
	return nil
}

// slowest is the reader that needs most of what was written; nil without any.
func (s *Spool) slowest() (slowest *Reader) {
	for _, r := range s.readers {
		if !r.closed && (slowest == nil || r.need() < slowest.need()) {
			slowest = r
		}
	}
	return slowest
}

// End says that nothing more will be written: readers get what is left and then io.EOF, or err at once when it is not nil. Only the first
// call counts.
func (s *Spool) End(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended, s.err = true, err
		s.changed.Broadcast()
	}
}

// Close gives the space back, and closes the draft. Nothing may be read or written any more. Further calls do nothing.
func (s *Spool) Close() error {
	s.End(os.ErrClosed)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.draft != nil {
		s.closing, s.draft = s.draft.Close(), nil
	}
	if err := errors.Join(s.closing, s.ring.Close()); err != nil {
		return fmt.Errorf("close spool: %w", err)
	}
	return nil
}
