package archive

import (
	"context"
	"fmt"
	"io"
)

// packer cuts the plain stream into blocks and sends them down the line. What lies in other archives goes along as slices of these, and ends
// no block: new data from all over the tar are packed together.
type packer struct {
	line  *line
	block *block // being filled, or nil
	tar   int64  // bytes so far, wherever they lie
}

// maxParts is how many slices a block takes along before it is cut.
const maxParts = 1 << 12

// part says that a piece of the tar comes next.
func (p *packer) part(s sliceRecord) {
	p.tar += s.Length
	all := p.block.parts
	if last := len(all) - 1; last >= 0 && s.joins(all[last]) {
		all[last].Length += s.Length
		return
	}
	p.block.parts = append(all, s)
}

// begin makes sure that there is a block.
func (p *packer) begin(ctx context.Context) (err error) {
	if p.block == nil {
		p.block, err = p.line.take(ctx)
	}
	return err
}

// lean says that what comes next lies in other archives.
func (p *packer) lean(ctx context.Context, all []sliceRecord) error {
	for _, s := range all {
		if err := p.begin(ctx); err != nil {
			return err
		}
		p.part(s)
		if len(p.block.parts) >= maxParts {
			p.cut()
		}
	}
	return nil
}

// room gives the rest of the current block to write to, at least one byte of it. Its capacity is one byte more.
func (p *packer) room(ctx context.Context) ([]byte, error) {
	if err := p.begin(ctx); err != nil {
		return nil, err
	}
	return p.block.plain[len(p.block.plain):frameSize], nil
}

// advance says that so many bytes of the room were written to.
func (p *packer) advance(n int) {
	if n == 0 {
		return
	}
	at := len(p.block.plain)
	p.part(sliceRecord{At: int64(at), Length: int64(n)})
	p.block.plain = p.block.plain[:at+n]
	if len(p.block.plain) == frameSize || len(p.block.parts) >= maxParts {
		p.cut()
	}
}

// cut ends the current block, unless it is empty.
func (p *packer) cut() {
	if p.block == nil || len(p.block.parts) == 0 {
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
		if err == nil {
			err = s.writeBlock(b, x)
		}
		if err != nil {
			return err
		}
		l.release(b)
	}
}

func (s *stored) writeBlock(b *block, x *indexWriter) error {
	if err := x.parts(b); err != nil {
		return err
	}
	if len(b.plain) == 0 {
		return nil
	}
	if err := s.write(b.stored); err != nil {
		return err
	}
	return x.frame(b)
}
