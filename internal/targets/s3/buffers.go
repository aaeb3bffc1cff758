package s3

import "context"

const (
	mostParts = 10_000 // of S3

	smallestPart = 8 << 20
	largestPart  = 32 << 20  // in memory
	hugestPart   = 5 << 30   // of S3, and so not in memory
	mostInMemory = 512 << 20 // of a part whose size is in the URL

	// growing is by how many parts, of 10,000, they have become twice as large. 8 TiB are reached so; and 4.5 TiB in 1,000 parts.
	growing = 1000

	// budget is what the parts that are on their way may take, unless the URL gives their size; there are always two.
	budget = 64 << 20
)

// sizeOfPart is the size of a part in bytes, counting from 1. How long an object will be is not known when its first part is sent. The fewer
// there may be, the more quickly they grow, by the square: what large parts cost is to be sent again when a connection breaks.
func (l location) sizeOfPart(number int, kept bool) int64 {
	if l.partSize > 0 && (kept || l.partSize <= mostInMemory) {
		return l.partSize
	}
	step := max(1, growing*l.maxParts/mostParts*l.maxParts/mostParts)
	size := min(int64(smallestPart)<<min((number-1)/step, 10), hugestPart)
	if !kept {
		size = min(size, largestPart)
	}
	return size
}

// buffers is how many parts of that size may be in memory: one that is being filled, and those on their way.
func (l location) buffers(size int) int {
	if int64(size) == l.partSize {
		return l.concurrency + 1
	}
	return max(2, min(l.concurrency+1, budget/size))
}

// buffer is memory for a part: that of an earlier upload, when there is some.
func (s *Store) buffer(size int) []byte {
	if size == smallestPart {
		if b, ok := s.spare.Get().(*[smallestPart]byte); ok {
			return b[:]
		}
	}
	return make([]byte, size)
}

// release takes a buffer back. One whose upload failed must not come back: the connection may still be reading it.
func (s *Store) release(buf []byte) {
	if cap(buf) == smallestPart {
		s.spare.Put((*[smallestPart]byte)(buf[:smallestPart]))
	}
}

// pool is the buffers of one upload.
type pool struct {
	store *Store
	free  chan []byte // nil stands for one that was not made yet
	live  int         // buffers in free and in use
}

// newPool gives a pool that begins with parts of that size.
func newPool(s *Store, size int) *pool {
	n := s.at.buffers(size)
	p := &pool{store: s, free: make(chan []byte, n), live: n}
	for range n {
		p.free <- nil
	}
	return p
}

func (p *pool) put(buf []byte) { p.free <- buf }

// take waits for a buffer of that size. When parts have grown, there are fewer of them from then on.
func (p *pool) take(ctx context.Context, size int) ([]byte, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case buf := <-p.free:
			switch {
			case p.live > p.store.at.buffers(size):
				p.live--
				p.store.release(buf)
			case cap(buf) < size:
				p.store.release(buf)
				return p.store.buffer(size), nil
			default:
				return buf[:size], nil
			}
		}
	}
}

// release gives all buffers back. None may be in use.
func (p *pool) release() {
	close(p.free)
	for buf := range p.free {
		p.store.release(buf)
	}
}
