package archive

import (
	"context"
	"crypto/sha256"
	"io"
	"runtime"
)

// frameSize is the most plain bytes that a frame holds.
const frameSize = 1 << 20

// block is a piece of the stream on its way through a line, in both its forms.
type block struct {
	buffer []byte // room for a frame and one byte more, by which a file that grew shows itself
	plain  []byte // of the buffer
	stored []byte
	digest [sha256.Size]byte // of the stored form, when it was made here
	parts  []sliceRecord     // pieces of the tar, when it is written: those of archive 0 lie in plain
	piece  piece             // what of the frame is wanted, when it is read by an index
	err    error
	done   chan struct{}
}

// line takes blocks from one producer through any number of workers to one consumer, in the producer's order. It has a fixed number of
// blocks, so the producer waits when it is that far ahead: this is what bounds memory.
type line struct {
	free  chan *block
	todo  chan *block
	order chan *block
}

// newLine makes a line that keeps so many workers busy: beside the block that each has in hand there is one ready for it, one
// being filled and one being emptied.
func newLine(workers int) *line {
	n := 2*workers + 2
	l := &line{free: make(chan *block, n), todo: make(chan *block, n), order: make(chan *block, n)}
	for range n {
		l.free <- &block{done: make(chan struct{}, 1)}
	}
	return l
}

// workersOr is how many workers to use when so many were asked for. One file is read at a time, at about 2 GB/s at best, which eight
// workers keep up with: more would only cost memory.
func workersOr(asked int) int {
	if asked > 0 {
		return asked
	}
	return min(runtime.GOMAXPROCS(0), 8)
}

// take gives the producer an empty block.
func (l *line) take(ctx context.Context) (*block, error) {
	select {
	case b := <-l.free:
		if b.buffer == nil { // not before it is needed: small volumes use one or two
			b.buffer = make([]byte, 0, frameSize+1)
		}
		b.plain, b.stored, b.parts, b.piece, b.err = b.buffer[:0], b.stored[:0], b.parts[:0], piece{}, nil
		return b, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// put hands a filled block on. It never waits, since there is room for all blocks.
func (l *line) put(b *block) {
	l.order <- b
	l.todo <- b
}

// fail puts an error on the line, so that it is met after what came before it.
func (l *line) fail(ctx context.Context, err error) {
	if b, ending := l.take(ctx); ending == nil {
		b.err = err
		l.put(b)
	}
}

// close ends the line: the producer puts no more.
func (l *line) close() {
	close(l.todo)
	close(l.order)
}

// work does the work on blocks until the line is closed.
func (l *line) work(do func(*block)) {
	for b := range l.todo {
		do(b)
		b.done <- struct{}{}
		runtime.Gosched() // producer and consumer have little to do and go first, or else the other workers wait for them
	}
}

// next gives the consumer the next block, its work done, or io.EOF when the line was closed and is empty.
func (l *line) next() (*block, error) {
	b, ok := <-l.order
	if !ok {
		return nil, io.EOF
	}
	<-b.done
	return b, nil
}

// release gives a block back that the consumer is done with.
func (l *line) release(b *block) { l.free <- b }
