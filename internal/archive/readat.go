package archive

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"sort"
	"unsafe"
)

// ReadAt reads the data of a file from an offset on, as io.ReaderAt does, with holes as zeros. Only the frames that these bytes lie in are
// fetched, unless the cache has them, and each is checked against its SHA-256.
func (r *Reader) ReadAt(ctx context.Context, e Indexed, p []byte, off int64) (int, error) {
	if e.Kind != File || off < 0 {
		return 0, fmt.Errorf("read %q at %d: a %v: %w", e.Path, off, e.Kind, fs.ErrInvalid)
	}
	if off >= e.Size {
		return 0, io.EOF
	}
	var end error
	if left := e.Size - off; left < int64(len(p)) {
		p, end = p[:left], io.EOF
	}
	parts, err := r.parts(ctx, &e)
	if err == nil {
		err = r.readParts(ctx, parts, p, off)
	}
	if err != nil {
		return 0, fmt.Errorf("read %q at %d: %w", e.Path, off, ended(ctx, err))
	}
	return len(p), end
}

// Data gives where the first data of a file at or after an offset begin, as far as they are no hole, and where they end: from the offset itself if it
// lies among them. Where nothing but a hole is left, both are the file's size.
func (r *Reader) Data(ctx context.Context, e Indexed, off int64) (from, to int64, err error) {
	if e.Kind != File || off < 0 || off > e.Size {
		return 0, 0, fmt.Errorf("look for data in %q at %d: %w", e.Path, off, fs.ErrInvalid)
	}
	parts, err := r.parts(ctx, &e)
	if err != nil {
		return 0, 0, fmt.Errorf("look for data in %q: %w", e.Path, ended(ctx, err))
	}
	i := sort.Search(len(parts), func(i int) bool { return parts[i].end() > off })
	if i == len(parts) {
		return e.Size, e.Size, nil
	}
	return max(off, parts[i].at), parts[i].end(), nil
}

// part is a segment of a file and where its data are in the tar.
type part struct {
	segment
	in int64
}

// parts gives all that is no hole in a file, in order.
func (r *Reader) parts(ctx context.Context, e *Indexed) ([]part, error) {
	if !e.Sparse {
		return []part{{segment{0, e.Size}, e.from + e.header}}, nil
	}
	key := cacheKey{r.own.trailer.digest, sparseMap, e.from}
	weigh := func(all []part) int64 { return int64(len(all)) * int64(unsafe.Sizeof(part{})) }
	return through(ctx, r.o.Cache, key, weigh, func() ([]part, error) { return r.sparseParts(ctx, e) })
}

// sparseParts reads the map of a sparse file.
func (r *Reader) sparseParts(ctx context.Context, e *Indexed) ([]part, error) {
	at := e.from + e.header
	all, err := readMap(e.Size, e.stored, func(block []byte) error {
		err := r.readTar(ctx, block, at, span{})
		at += int64(len(block))
		return err
	})
	if err != nil {
		return nil, err
	}
	parts := make([]part, len(all))
	for i, s := range all {
		parts[i] = part{s, at}
		at += s.size
	}
	return parts, nil
}

// readParts fills p with what is at an offset of a file.
func (r *Reader) readParts(ctx context.Context, parts []part, p []byte, off int64) error {
	clear(p)
	want := span{off, off + int64(len(p))}
	first := sort.Search(len(parts), func(i int) bool { return parts[i].end() > off })
	for _, part := range parts[first:] {
		in := span{part.at, part.end()}.and(want)
		if in.empty() {
			return nil
		}
		data := span{part.in, part.in + part.size}
		if err := r.readTar(ctx, p[in.lo-off:in.hi-off], part.in+in.lo-part.at, data); err != nil {
			return err
		}
	}
	return nil
}

// readTar fills p with what is at an offset of the tar. What is around it may be read ahead.
func (r *Reader) readTar(ctx context.Context, p []byte, at int64, around span) error {
	for piece, err := range r.pieces(ctx, span{at, at + int64(len(p))}) {
		if err != nil {
			return damaged(err)
		}
		plain, err := r.frame(ctx, piece, around)
		if err != nil {
			return damaged(err)
		}
		copy(p[piece.at-at:], plain[piece.lo:piece.hi])
	}
	return nil
}

func (p *piece) key() cacheKey { return cacheKey{p.frame.digest, plainFrame, 0} }

func weighBytes(plain []byte) int64 { return int64(len(plain)) }

// frame gives the whole frame that a piece is of.
func (r *Reader) frame(ctx context.Context, p piece, around span) ([]byte, error) {
	return through(ctx, r.o.Cache, p.key(), weighBytes, func() ([]byte, error) {
		run := r.ahead(ctx, p, around)
		release, err := r.o.Cache.slot(ctx)
		if err != nil {
			return nil, err
		}
		defer release()
		last := run[len(run)-1].frame
		stored, err := p.origin.fetch(ctx, p.frame.place, last.place+int64(last.stored)-p.frame.place)
		if err != nil {
			return nil, err
		}
		for _, next := range run[1:] {
			// Of one that is damaged it is told when it is wanted.
			if plain, err := r.unframed(next, stored[next.frame.place-p.frame.place:]); err == nil {
				keep(r.o.Cache, next.key(), plain, weighBytes)
			}
		}
		return r.unframed(p, stored)
	})
}

// unframed opens the whole frame of a piece, with which what is stored begins.
func (r *Reader) unframed(p piece, stored []byte) ([]byte, error) {
	p.lo, p.hi = 0, p.frame.plain
	b := block{stored: stored[:p.frame.stored], plain: make([]byte, 0, p.frame.plain)}
	err := p.unframe(r, &b)
	return b.plain, err
}

// readAhead is how much of the tar is fetched with one request by who reads on.
const readAhead = 4 * frameSize

// ahead gives a piece and those to fetch with it: what comes next to it, where what comes before was read a moment ago. An error ends it, and is
// told when that part is wanted.
func (r *Reader) ahead(ctx context.Context, p piece, around span) (run []piece) {
	run = []piece{p}
	frame := span{p.at - int64(p.lo), p.at - int64(p.lo) + int64(p.frame.plain)}
	if frame.lo <= around.lo || around.empty() {
		return run
	}
	for before, err := range r.pieces(ctx, span{frame.lo - 1, frame.lo}) {
		if err != nil || !r.o.Cache.has(before.key()) {
			return run
		}
	}
	for next, err := range r.pieces(ctx, span{frame.hi, frame.lo + readAhead}.and(around)) {
		if err != nil || !next.follows(&run[0], &run[len(run)-1]) || r.o.Cache.has(next.key()) {
			break
		}
		run = append(run, next)
	}
	return run
}

// What a cache has beside parts of the index.
const (
	plainFrame tag = 'p'
	sparseMap  tag = 'm'
)

// Xattrs gives the extended attributes of an entry, for which the frame with its header is fetched.
func (r *Reader) Xattrs(ctx context.Context, e Indexed) (map[string]string, error) {
	if e.header > maxHeader {
		return nil, damaged(fmt.Errorf("entry %q: a header of %d bytes", e.Path, e.header))
	}
	blocks := make([]byte, e.header)
	if err := r.readTar(ctx, blocks, e.from, span{}); err != nil {
		return nil, fmt.Errorf("read attributes of %q: %w", e.Path, ended(ctx, err))
	}
	m, err := e.parseHeader(blocks)
	if err != nil {
		return nil, damaged(err)
	}
	all := make(map[string]string, len(m.xattrs))
	for _, x := range m.xattrs {
		all[x.name] = x.value
	}
	return all, nil
}
