package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// salvage restores what can be read of a damaged archive. Zeros stand for each frame that is damaged, since its size is known, so that what
// comes after it is found.
type salvage struct {
	x    *extractor
	t    *tarReader
	lost span // the last damage met, in bytes that t has given
}

func newSalvage(x *extractor, t *tarReader) *salvage {
	s := &salvage{x: x, t: t}
	t.plain.meet = s.meet
	return s
}

// meet sees each block before it is read.
func (s *salvage) meet(b *block) {
	if b.err == nil {
		return
	}
	size := b.piece.hi - b.piece.lo
	if b.piece.origin == nil {
		var h zstd.Header
		if h.Decode(b.stored) != nil { // no frame, but an error of reading
			return
		}
		size = int(h.FrameContentSize) // which was checked before the frame was read
	}
	b.zero(size)
	at := s.t.plain.at
	if s.lost.hi != at {
		s.lost.lo = at
	}
	s.lost.hi = at + int64(size)
}

// hits tells whether damage lies in what was read from an offset on, up to another.
func (s *salvage) hits(from, to int64) bool { return !s.lost.and(span{from, to}).empty() }

// member restores one of which the header could be read.
func (s *salvage) member(ctx context.Context, m *member) error {
	from := s.t.plain.at
	taken := s.x.chosen.cover(m.Path)
	err := s.x.member(ctx, s.t, m)
	if damage, ok := errors.AsType[*damagedError](err); ok {
		s.x.report.damaged(m.Path, fmt.Sprintf("left out: %v", damage))
		return nil
	}
	if err == nil && taken && s.hits(from, s.t.plain.at) {
		s.x.report.damaged(m.Path, "zeros are in the place of damaged contents")
	}
	return err
}

// stream restores an archive by its tar alone. Where headers are lost it goes on with the next that can be read.
func (s *salvage) stream(ctx context.Context) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		from := s.t.plain.at + s.t.left + s.t.pad
		m, err := s.t.next()
		if err != nil && s.hits(from, s.t.plain.at) {
			s.x.report.damaged("", fmt.Sprintf("entries from byte %d of the tar on, whose names are lost", from))
			if err != io.EOF {
				m, err = s.resume(err)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil { // what came before it is restored
			return damaged(err)
		}
		if err := s.member(ctx, m); err != nil {
			return err
		}
	}
}

// resume looks for the next header among whole blocks. A file's contents may look like one, so it must also have a name as this package
// writes it.
func (s *salvage) resume(why error) (*member, error) {
	t, zeros := s.t, 0
	t.left, t.pad = 0, -t.plain.at&(tarBlock-1)
	if err := t.plain.skip(t.pad); err != nil {
		return nil, errors.Join(why, err)
	}
	t.pad = 0
	for {
		err := t.plain.full(t.block[:])
		if err == io.ErrUnexpectedEOF && zeros >= 2 {
			return nil, io.EOF
		}
		if err != nil {
			return nil, errors.Join(why, err)
		}
		if zeros++; t.block != [tarBlock]byte{} {
			zeros = 0
		}
		if checkHeader(t.block[:]) != nil || !strings.HasPrefix(text(t.block[:], fieldName), "./") {
			continue
		}
		if m, err := t.member(); err == nil {
			return m, nil
		}
	}
}

// indexed restores the entries that an index has of the chosen paths. Their members come one after the other, from the first byte on.
func (s *salvage) indexed(ctx context.Context, r *Reader) error {
	total, end := r.own.directory.Totals.Tar, int64(0)
	for e, err := range r.wanted(ctx, s.x.chosen) {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		where := e.member(total)
		end += where.hi - where.lo
		m, err := s.header(e)
		if err != nil {
			return ended(ctx, err)
		}
		if m == nil {
			s.x.report.damaged(e.Path, "left out: its header is lost")
		} else if err := s.member(ctx, m); err != nil {
			return ended(ctx, err)
		}
		s.t.left, s.t.pad = 0, 0
		if err := s.t.plain.skip(end - s.t.plain.at); err != nil {
			return ended(ctx, err)
		}
	}
	return nil
}

// header reads what is before an entry's data, and gives nil when damage has hit it.
func (s *salvage) header(e *Indexed) (*member, error) {
	if e.header > maxHeader {
		return nil, fmt.Errorf("entry %q: a header of %d bytes", e.Path, e.header)
	}
	from, blocks := s.t.plain.at, make([]byte, e.header)
	if err := s.t.plain.full(blocks); err != nil {
		return nil, err
	}
	if s.hits(from, s.t.plain.at) {
		return nil, nil
	}
	m, err := e.parseHeader(blocks)
	if err != nil {
		return nil, err
	}
	s.t.left, s.t.pad = m.stored, padding(m.stored)
	return m, nil
}

// parseHeader reads the blocks before the entry's data.
func (e *Indexed) parseHeader(blocks []byte) (*member, error) {
	nothing := newLine(0)
	nothing.close()
	alone := tarReader{plain: plainReader{line: nothing, rest: blocks}}
	m, err := alone.next()
	if err == nil {
		err = e.is(m, alone.plain.at)
	}
	if err != nil {
		return nil, fmt.Errorf("entry %q: %w", e.Path, err)
	}
	return m, nil
}

// maxHeader is the most that goes before a member's data.
const maxHeader = maxRecords + 3*tarBlock
