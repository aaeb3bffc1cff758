package archive

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// unpack decompresses an archive on all processors and lets read take the tar from it, to its end. What came out of it is what was
// written once unpack gives no error; but read may pass over damage, and say so itself, when there is nothing to prove.
//
// Other than a zstd stream in general, this one can be taken apart without decompressing, as blocks say how long they are.
func unpack(ctx context.Context, r io.Reader, p proof, read func(context.Context, *tarReader) error) error {
	workers := workersOr(0)
	d, err := newDecoder(workers)
	if err != nil {
		return err
	}
	defer d.Close()
	c, err := newCodec()
	if err != nil {
		return err
	}
	s := splitter{in: bufio.NewReaderSize(blamedReader{io.NopCloser(r)}, 256<<10), chain: newChain(c, d)}
	f := startFlow(ctx, workers, func(ctx context.Context, l *line) { s.split(ctx, l) }, func(b *block) {
		if b.err == nil {
			b.digest = sha256.Sum256(b.stored)
			b.plain, b.err = d.DecodeAll(b.stored, b.plain)
		}
	})
	defer f.close()
	t := &tarReader{plain: f.plain}
	frames := sha256.New()
	t.plain.meet = func(b *block) { frames.Write(b.digest[:]) }
	err = read(ctx, t)
	if err != nil && ctx.Err() != nil { // which also looks like the end of the stream
		return context.Cause(ctx)
	}
	if err == nil && !p.none {
		f.close()
		err = damaged(s.chain.prove(p.directory, frames))
	}
	return err
}

// proof says what an archive that is read as a stream must be.
type proof struct {
	directory [sha256.Size]byte // digest of its directory; zero: any, or none
	none      bool              // it may be anything
}

// splitter takes a stored stream apart.
type splitter struct {
	in    *bufio.Reader
	chain chain
}

// split puts the frames of a stored stream on a line, until its end or that of ctx. An error of the stream goes down the line too,
// so that it is met after what came before it.
func (s *splitter) split(ctx context.Context, l *line) {
	for {
		b, err := l.take(ctx)
		if err != nil {
			return
		}
		if err := s.next(b); err != nil {
			l.release(b)
			if err != io.EOF {
				l.fail(ctx, err)
			}
			return
		}
		l.put(b)
	}
}

// next reads the next data frame without decompressing it; io.EOF is the end between two frames, with the index proven if there is one.
func (s *splitter) next(b *block) error {
	for {
		start, err := s.in.Peek(zstd.HeaderMaxSize)
		if err != nil && err != io.EOF {
			return err
		}
		if len(start) == 0 {
			return s.chain.end()
		}
		var h zstd.Header
		if err := h.Decode(start); err != nil {
			if len(start) < zstd.HeaderMaxSize {
				err = errors.Join(err, io.ErrUnexpectedEOF)
			}
			return fmt.Errorf("read frame header: %w", err)
		}
		if !h.Skippable {
			if err := readBlocks(s.in, b, &h); err != nil {
				return err
			}
			return s.chain.data(len(b.stored), h.FrameContentSize)
		}
		if err := s.chain.skippable(s.in, &h); err != nil {
			return err
		}
	}
}

func readBlocks(r *bufio.Reader, b *block, h *zstd.Header) error {
	if !h.SingleSegment || !h.HasCheckSum || h.DictionaryID != 0 || h.FrameContentSize == 0 || h.FrameContentSize > frameSize {
		return errors.New("read frame: not one that an archive of backupd has")
	}
	if err := b.fill(r, h.HeaderSize); err != nil {
		return err
	}
	for last := false; !last; {
		if err := b.fill(r, blockHeaderSize); err != nil {
			return err
		}
		tail := b.stored[len(b.stored)-blockHeaderSize:]
		header := uint32(binary.LittleEndian.Uint16(tail)) | uint32(tail[2])<<16
		last = header&lastBlock != 0
		size := int(header >> 3)
		if header&blockTypes == runBlock {
			size = 1 // one byte, which stands for many
		}
		if err := b.fill(r, size); err != nil {
			return err
		}
	}
	return b.fill(r, checksumSize)
}

// fill reads so many more bytes into the stored form.
func (b *block) fill(r io.Reader, n int) error {
	at := len(b.stored)
	if at+n > maxStoredFrame {
		return fmt.Errorf("read frame: longer than %d bytes", maxStoredFrame)
	}
	if cap(b.stored) < at+n {
		b.stored = append(make([]byte, 0, maxStoredFrame), b.stored...)
	}
	b.stored = b.stored[:at+n]
	if _, err := io.ReadFull(r, b.stored[at:]); err != nil {
		return fmt.Errorf("read frame: %w", unexpected(err))
	}
	return nil
}

// unexpected is what the end of a stream is in the middle of something.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// plainReader gives the plain stream, without copying where it can.
type plainReader struct {
	line *line
	cur  *block
	rest []byte // of cur
	at   int64  // bytes given

	meet func(*block) // sees each block first, and may mend it; may be nil
}

// some gives at least one and at most n of the next bytes, valid until the next call; io.EOF at the end of the stream.
func (p *plainReader) some(n int64) ([]byte, error) {
	for len(p.rest) == 0 {
		if p.cur != nil {
			p.line.release(p.cur)
			p.cur = nil
		}
		b, err := p.line.next()
		if err != nil {
			return nil, err
		}
		if p.meet != nil {
			p.meet(b)
		}
		if b.err != nil {
			return nil, fmt.Errorf("decompress archive: %w", damaged(b.err))
		}
		p.cur, p.rest = b, b.plain
	}
	n = min(n, int64(len(p.rest)))
	p.at += n
	out := p.rest[:n]
	p.rest = p.rest[n:]
	return out, nil
}

// full fills dst. The end of the stream is io.ErrUnexpectedEOF: nothing ends it but the tar's own end.
func (p *plainReader) full(dst []byte) error {
	for len(dst) > 0 {
		got, err := p.some(int64(len(dst)))
		if err != nil {
			return damaged(unexpected(err))
		}
		dst = dst[copy(dst, got):]
	}
	return nil
}

func (p *plainReader) skip(n int64) error {
	for n > 0 {
		got, err := p.some(n)
		if err != nil {
			return damaged(unexpected(err))
		}
		n -= int64(len(got))
	}
	return nil
}
