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
	home   chan *block // where it waits to be taken

	finish func(*block) // does the work when the block is wanted; nil for one that a worker does
}

// zero lets zeros stand for so many bytes that are damaged.
func (b *block) zero(n int) {
	b.err = nil
	if b.buffer == nil {
		b.plain = make([]byte, n)
		return
	}
	b.plain = b.buffer[:n]
	clear(b.plain)
}

// line takes blocks from one producer through any number of workers to one consumer, in the producer's order. It has a fixed number of
// blocks, so the producer waits when it is that far ahead: this is what bounds memory.
type line struct {
	free  chan *block
	light chan *block // without a buffer, for parts of frames that another block opens
	todo  chan *block
	order chan *block
}

// lightBlocks is how many of them there are: enough for the next frames to be opened meanwhile. What they hold are frames that other blocks
// have opened, so they bound no memory.
const lightBlocks = 256

// newLine makes a line that keeps so many workers busy: beside the block that each has in hand there is one ready for it, one
// being filled and one being emptied.
func newLine(workers int) *line {
	n := 2*workers + 2
	l := &line{
		free: make(chan *block, n), light: make(chan *block, lightBlocks),
		todo: make(chan *block, n+lightBlocks), order: make(chan *block, n+lightBlocks),
	}
	for _, home := range []chan *block{l.free, l.light} {
		for range cap(home) {
			home <- &block{done: make(chan struct{}, 1), home: home}
		}
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
	b, err := take(ctx, l.free)
	if err != nil {
		return nil, err
	}
	if b.buffer == nil { // not before it is needed: small volumes use one or two
		b.buffer = make([]byte, 0, frameSize+1)
	}
	b.plain = b.buffer[:0]
	return b, nil
}

// takeLight gives the producer a block that has no room for data.
func (l *line) takeLight(ctx context.Context) (*block, error) { return take(ctx, l.light) }

func take(ctx context.Context, from chan *block) (*block, error) {
	select {
	case b := <-from:
		b.plain, b.stored, b.parts, b.piece, b.err, b.finish = nil, b.stored[:0], b.parts[:0], piece{}, nil, nil
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

// putReady hands on a block with which there is nothing to do once those before it are done.
func (l *line) putReady(b *block, finish func(*block)) {
	b.finish = finish
	b.done <- struct{}{}
	l.order <- b
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
	if b.finish != nil {
		b.finish(b)
	}
	return b, nil
}

// release gives a block back that the consumer is done with.
func (l *line) release(b *block) { b.home <- b }
