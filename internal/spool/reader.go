package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"time"

	"github.com/backupd/backupd/internal/targets"
)

// Reader reads the stream of a spool from its beginning.
type Reader struct {
	spool  *Spool
	name   string
	sum    uint32 // of what was read
	pos    int64  // guarded by the spool's lock, as is what follows
	kept   int64  // where that begins which has to stay, though it was read
	closed bool

	patience *time.Timer // runs while the writer waits for it
}

// Reader makes one, for whom the name says. It gets the whole stream, and must be read to its end or closed. All are made before the
// first Write.
func (s *Spool) Reader(name string) *Reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &Reader{spool: s, name: name, kept: math.MaxInt64}
	s.readers = append(s.readers, r)
	return r
}

// Read waits for bytes that are not written yet.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	from, at, n, err := r.next(int64(len(p)))
	if err != nil {
		return 0, err
	}
	m, err := from.ReadAt(p[:n], at)
	if err != nil {
		return 0, fmt.Errorf("read from spool: %w", err)
	}
	r.sum = crc32.Update(r.sum, castagnoli, p[:m])
	r.moved(func() { r.pos += int64(m) })
	return m, nil
}

// errDamaged is the end of a stream that came out different: some disks lose what they were given, and tell only who asks them to sync.
var errDamaged = errors.New("read from spool: what came back is not what was written; is its disk failing?")

// next waits for bytes, and tells where they are and how many, of those that are wanted.
func (r *Reader) next(want int64) (from io.ReaderAt, at, n int64, err error) {
	s := r.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case r.closed:
			return nil, 0, 0, os.ErrClosed
		case s.ended && s.err != nil: // a stream that failed is not worth reading to its end
			return nil, 0, 0, s.err
		case r.pos < s.written:
			from, at, n = s.place(r.pos, want)
			return from, at, n, nil
		case s.ended && r.sum != s.sum:
			return nil, 0, 0, errDamaged
		case s.ended:
			return nil, 0, 0, io.EOF
		case r.kept < r.pos && r.awaited():
			return nil, 0, 0, targets.ErrNoRoom
		}
		s.changed.Wait()
	}
}

// Close tells the writer that this reader wants no more, so that it is not waited for.
func (r *Reader) Close() error {
	r.moved(func() { r.closed = true })
	return nil
}

func (r *Reader) moved(move func()) {
	r.spool.mu.Lock()
	defer r.spool.mu.Unlock()
	move()
	r.rest()
	r.spool.waiting = false // unless the writer finds that it still has to
	r.spool.letGo()
	r.spool.changed.Broadcast()
}
