// Package spool lets one writer run ahead of several readers, so that containers need not hold still for as long as the slowest
// target takes.
//
// A spool is a ring in an unlinked file: bytes that the slowest reader has not read yet lie in it, up to a limit. Beyond that the writer
// waits, and so goes at the pace of the slowest reader. Nothing is left on disk when the process dies.
package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrNoReader is what Write fails with once every reader was closed: nobody wants the rest.
var ErrNoReader = errors.New("no reader is left")

// Spool is a stream of bytes under way from one writer to its readers.
type Spool struct {
	file  *os.File
	limit int64

	mu      sync.Mutex
	changed sync.Cond // any of what follows
	base    int64     // position in the stream of the first byte of the file
	written int64     // position in the stream
	ended   bool
	err     error // why it ended; nil for the regular end
	readers []*Reader
}

// New makes a spool that keeps at most limit bytes in dir, for the given number of readers.
func New(dir string, limit int64, readers int) (*Spool, error) {
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
	s := &Spool{file: file, limit: limit}
	s.changed.L = &s.mu
	for range readers {
		s.readers = append(s.readers, &Reader{spool: s})
	}
	return s, nil
}

// Readers are the readers of the spool; each gets the whole stream. Every one must be read to its end or closed.
func (s *Spool) Readers() []*Reader { return s.readers }

// piece is the most that is written by one call: a disk that is nearly full may refuse a large write whole.
const piece = 256 << 10

// Write adds to the stream, and waits while the spool is full. Where the disk is full before the limit is reached, the spool goes
// on with the room that it has.
func (s *Spool) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		at, room, err := s.room()
		if err != nil {
			return done, err
		}
		n, err := s.file.WriteAt(p[done:done+int(min(int64(len(p)-done), room, piece))], at)
		done += n
		s.advance(int64(n))
		if errors.Is(err, unix.ENOSPC) {
			err = s.shrink(err)
		}
		if err != nil {
			return done, fmt.Errorf("write to spool: %w", err)
		}
	}
	return done, nil
}

// room waits until there is some, and tells where in the file it is and how far it goes.
func (s *Spool) room() (at, room int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		slowest, any := s.slowest()
		switch {
		case s.ended && s.err != nil:
			return 0, 0, s.err
		case s.ended:
			return 0, 0, errors.New("write to spool: it has ended")
		case !any:
			return 0, 0, ErrNoReader
		case s.written-slowest < s.limit:
			at = (s.written - s.base) % s.limit
			return at, min(s.limit-(s.written-slowest), s.limit-at), nil
		}
		s.changed.Wait()
	}
}

func (s *Spool) advance(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written += n
	s.changed.Broadcast()
}

// shrink makes do with the part of the file that could be written. What lies in it must have been read before its place can be used
// anew. It gives back full when that part is nothing.
func (s *Spool) shrink(full error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := min(s.written-s.base, s.limit)
	if have == 0 || have == s.limit {
		return full
	}
	for {
		slowest, any := s.slowest()
		if s.ended || !any {
			return nil // room tells why
		}
		if slowest == s.written {
			s.base, s.limit = s.written, have
			return nil
		}
		s.changed.Wait()
	}
}

// slowest is the position of the reader that has most left to read.
func (s *Spool) slowest() (pos int64, any bool) {
	for _, r := range s.readers {
		if !r.closed && (!any || r.pos < pos) {
			pos, any = r.pos, true
		}
	}
	return pos, any
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

// Close gives the space back. Nothing may be read or written any more.
func (s *Spool) Close() error {
	s.End(os.ErrClosed)
	if err := s.file.Close(); err != nil {
		return fmt.Errorf("close spool: %w", err)
	}
	return nil
}

// Reader reads the stream of a spool from its beginning.
type Reader struct {
	spool  *Spool
	pos    int64 // guarded by the spool's lock, as is closed
	closed bool
}

// Read waits for bytes that are not written yet.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	at, n, err := r.next(int64(len(p)))
	if err != nil {
		return 0, err
	}
	m, err := r.spool.file.ReadAt(p[:n], at)
	if err != nil {
		return 0, fmt.Errorf("read from spool: %w", err)
	}
	r.spool.mu.Lock()
	defer r.spool.mu.Unlock()
	r.pos += int64(m)
	r.spool.changed.Broadcast()
	return m, nil
}

// next waits for bytes, and tells where in the file they are and how many, of those that are wanted.
func (r *Reader) next(want int64) (at, n int64, err error) {
	s := r.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case r.closed:
			return 0, 0, os.ErrClosed
		case s.ended && s.err != nil: // a stream that failed is not worth reading to its end
			return 0, 0, s.err
		case r.pos < s.written:
			at = (r.pos - s.base) % s.limit
			return at, min(want, s.written-r.pos, s.limit-at), nil
		case s.ended:
			return 0, 0, io.EOF
		}
		s.changed.Wait()
	}
}

// Close tells the writer that this reader wants no more, so that it is not waited for.
func (r *Reader) Close() error {
	r.spool.mu.Lock()
	defer r.spool.mu.Unlock()
	r.closed = true
	r.spool.changed.Broadcast()
	return nil
}
