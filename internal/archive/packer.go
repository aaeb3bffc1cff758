package archive

import (
	"context"
	"fmt"
	"io"
)

// packer cuts the plain stream into blocks and sends them down the line.
type packer struct {
	line  *line
	block *block // being filled, or nil
	plain int64  // bytes so far
}

// room gives the rest of the current block to write to, at least one byte of it. Its capacity is one byte more.
func (p *packer) room(ctx context.Context) ([]byte, error) {
	if p.block == nil {
		b, err := p.line.take(ctx)
		if err != nil {
			return nil, err
		}
		p.block = b
	}
	return p.block.plain[len(p.block.plain):frameSize], nil
}

// advance says that so many bytes of the room were written to.
func (p *packer) advance(n int) {
	p.plain += int64(n)
	p.block.plain = p.block.plain[:len(p.block.plain)+n]
	if len(p.block.plain) == frameSize {
		p.cut()
	}
}

// cut ends the current block, unless it is empty.
func (p *packer) cut() {
	if p.block == nil || len(p.block.plain) == 0 {
		return
	}
	p.line.put(p.block)
	p.block = nil
}

func (p *packer) write(ctx context.Context, data []byte) error {
	for len(data) > 0 {
		room, err := p.room(ctx)
		if err != nil {
			return err
		}
		n := copy(room, data)
		p.advance(n)
		data = data[n:]
	}
	return nil
}

func (p *packer) zeros(ctx context.Context, n int64) error {
	for n > 0 {
		room, err := p.room(ctx)
		if err != nil {
			return err
		}
		room = room[:min(n, int64(len(room)))]
		clear(room)
		p.advance(len(room))
		n -= int64(len(room))
	}
	return nil
}

// stored is what has been written of an archive.
type stored struct {
	to   io.Writer
	size int64
}

func (s *stored) write(p []byte) error {
	if _, err := s.to.Write(p); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	s.size += int64(len(p))
	return nil
}

// writeAll writes what comes off the line, telling the index of it.
func (s *stored) writeAll(l *line, x *indexWriter) error {
	for {
		b, err := l.next()
		if err == io.EOF {
			return nil
		}
		if err := s.write(b.stored); err != nil {
			return err
		}
		if err := x.frame(b); err != nil {
			return err
		}
		l.release(b)
	}
}
