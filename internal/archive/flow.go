package archive

import (
	"context"
	"fmt"
	"io"
	"iter"
	"sync"
)

// flow is a plain stream that is being fetched and decompressed ahead of who reads it.
type flow struct {
	plain  plainReader
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// startFlow lets fill put blocks on a line, and workers make their plain form.
func startFlow(ctx context.Context, workers int, fill func(context.Context, *line), unframe func(*block)) *flow {
	l := newLine(workers)
	f := &flow{plain: plainReader{line: l}}
	ctx, f.cancel = context.WithCancel(ctx)
	f.done.Go(func() {
		defer l.close()
		fill(ctx, l)
	})
	for range workers {
		f.done.Go(func() { l.work(unframe) })
	}
	return f
}

// close ends the flow and waits for it.
func (f *flow) close() {
	f.cancel()
	f.done.Wait()
}

// rangeSize is the most that one request for data asks for. It bounds no memory: data are taken as they are wanted.
const rangeSize = 32 << 20

// maxRun bounds the pieces of one request, which may all be of the same frame.
const maxRun = 1 << 12

// flow starts to read ranges of the tar, one after the other.
func (r *Reader) flow(ctx context.Context, spans iter.Seq2[span, error]) *flow {
	return startFlow(ctx, r.o.Workers, func(ctx context.Context, l *line) {
		if err := r.fill(ctx, l, spans); err != nil {
			l.fail(ctx, err)
		}
	}, func(b *block) {
		if b.err == nil {
			b.err = b.piece.unframe(r, b)
		}
	})
}

// one is a single range.
func one(s span) iter.Seq2[span, error] {
	return func(yield func(span, error) bool) { yield(s, nil) }
}

// fill puts the pieces of ranges on a line, asking for those that are stored side by side in one request.
func (r *Reader) fill(ctx context.Context, l *line, spans iter.Seq2[span, error]) error {
	var next request
	var frames recent
	for want, err := range spans {
		if err != nil {
			return err
		}
		for p, err := range r.pieces(ctx, want) {
			if err != nil {
				return err
			}
			known := false
			if p.hi-p.lo < p.frame.plain {
				p.opened, known = frames.of(p)
			}
			if !next.takes(&p, known) {
				if err := next.fetch(ctx, r, l); err != nil {
					return err
				}
			}
			next.add(p, known)
		}
	}
	return next.fetch(ctx, r, l)
}

// request is pieces that are put on a line after one request, for frames that lie side by side.
type request struct {
	all         []piece
	known       []bool // of each: whether its frame has been asked for already
	first, last *piece // copies of those that have not; nil for none
}

// follows tells whether a piece's frame can be had in one request with others, of which these are the first and the last.
func (p *piece) follows(first, last *piece) bool {
	return p.origin == last.origin && p.frame.place == last.frame.end() && p.frame.end()-first.frame.place <= rangeSize
}

func (n *request) takes(p *piece, known bool) bool {
	return len(n.all) < maxRun && (known || n.first == nil || p.follows(n.first, n.last))
}

func (n *request) add(p piece, known bool) {
	n.all, n.known = append(n.all, p), append(n.known, known)
	if known {
		return
	}
	if n.last = &p; n.first == nil {
		n.first = n.last
	}
}

// fetch puts the pieces on a line, and begins anew.
func (n *request) fetch(ctx context.Context, r *Reader, l *line) error {
	var from io.Reader
	if n.first != nil {
		at := n.first.frame.place
		size := n.last.frame.end() - at
		stored, err := n.first.origin.stream(ctx, at, size)
		if err != nil {
			return fmt.Errorf("read %d bytes at %d: %w", size, at, err)
		}
		defer stored.Close() // it was only read from
		from = stored
	}
	for i, p := range n.all {
		take := l.take
		if n.known[i] {
			take = l.takeLight
		}
		b, err := take(ctx)
		if err != nil {
			return err
		}
		b.piece = p
		if n.known[i] { // or another worker would wait for the one that opens the frame
			l.putReady(b, func(b *block) { b.plain, b.err = p.part(r) })
			continue
		}
		if err := b.fetch(from); err != nil {
			l.release(b)
			return err
		}
		l.put(b)
	}
	*n = request{all: n.all[:0], known: n.known[:0]}
	return nil
}

// fetch reads the frame of a block's piece.
func (b *block) fetch(from io.Reader) error {
	o := b.piece.opened
	if o == nil {
		return b.fill(from, b.piece.frame.stored)
	}
	o.stored = make([]byte, b.piece.frame.stored)
	if _, err := io.ReadFull(from, o.stored); err != nil {
		return fmt.Errorf("read frame: %w", unexpected(err))
	}
	return nil
}

// unframe checks a frame and leaves the part of it that is wanted.
func (p *piece) unframe(r *Reader, b *block) (err error) {
	if p.opened == nil {
		b.plain, err = r.openFrame(&p.frame, b.stored, b.plain)
		b.plain = b.plain[:min(p.hi, len(b.plain))][min(p.lo, len(b.plain)):]
		return err
	}
	b.plain, err = p.part(r)
	return err
}

// part gives what is wanted of a frame that is shared.
func (p *piece) part(r *Reader) ([]byte, error) {
	plain, err := p.opened.plainOf(r)
	if err != nil {
		return nil, err
	}
	return plain[p.lo:p.hi], nil
}

// Tar writes the snapshot as a plain tar: what it was before it was cut into frames.
func (r *Reader) Tar(ctx context.Context, w io.Writer) error {
	f := r.flow(ctx, one(span{0, r.own.directory.Totals.Tar}))
	defer f.close()
	left := r.own.directory.Totals.Tar
	for left > 0 {
		p, err := f.plain.some(left)
		if err != nil {
			return fmt.Errorf("read tar: %w", ended(ctx, err))
		}
		if _, err := w.Write(p); err != nil {
			return fmt.Errorf("write tar: %w", err)
		}
		left -= int64(len(p))
	}
	return nil
}

// ended is the reason why a flow ended before all was there: often that of its context, which also looks like the end of the stream.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return unexpected(err)
}
