package archive

import (
	"context"
	"crypto/sha256"
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
	var run []piece
	for want, err := range spans {
		if err != nil {
			return err
		}
		for p, err := range r.pieces(ctx, want) {
			if err != nil {
				return err
			}
			if !follows(run, p) {
				if err := fetchRun(ctx, l, run); err != nil {
					return err
				}
				run = run[:0]
			}
			run = append(run, p)
		}
	}
	return fetchRun(ctx, l, run)
}

// follows tells whether a piece can be had with the others in one request.
func follows(run []piece, p piece) bool {
	if len(run) == 0 {
		return true
	}
	if len(run) == maxRun {
		return false
	}
	first, last := run[0], run[len(run)-1]
	next := p.frame.place == last.frame.place || p.frame.place == last.frame.place+int64(last.frame.stored)
	return p.origin == last.origin && next && p.frame.place+int64(p.frame.stored)-first.frame.place <= rangeSize
}

// fetchRun asks for pieces that lie side by side.
func fetchRun(ctx context.Context, l *line, run []piece) error {
	if len(run) == 0 {
		return nil
	}
	first, last := run[0].frame, run[len(run)-1].frame
	n := last.place + int64(last.stored) - first.place
	from, err := run[0].origin.stream(ctx, first.place, n)
	if err != nil {
		return fmt.Errorf("read %d bytes at %d: %w", n, first.place, err)
	}
	defer from.Close() // it was only read from
	var same []byte    // the frame before, when it is wanted once more
	for i, p := range run {
		b, err := l.take(ctx)
		if err != nil {
			return err
		}
		b.piece = p
		if i > 0 && run[i-1].frame.place == p.frame.place {
			b.stored = append(b.stored, same...)
		} else if err := b.fill(from, p.frame.stored); err != nil {
			l.release(b)
			return err
		}
		if i+1 < len(run) && run[i+1].frame.place == p.frame.place {
			same = append(same[:0], b.stored...)
		}
		l.put(b)
	}
	return nil
}

// unframe checks a frame and leaves the part of it that is wanted.
func (p *piece) unframe(r *Reader, b *block) (err error) {
	if sha256.Sum256(b.stored) != p.frame.digest {
		return fmt.Errorf("read frame at %d: %w", p.frame.place, errDigest)
	}
	if b.plain, err = r.decoder.DecodeAll(b.stored, b.plain); err != nil {
		return fmt.Errorf("decompress frame at %d: %w", p.frame.place, err)
	}
	if len(b.plain) != p.frame.plain {
		return fmt.Errorf("decompress frame at %d: %d bytes, not %d", p.frame.place, len(b.plain), p.frame.plain)
	}
	b.plain = b.plain[p.lo:p.hi]
	return nil
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
