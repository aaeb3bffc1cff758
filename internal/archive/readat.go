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
		err := r.readTar(ctx, block, at)
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
		if err := r.readTar(ctx, p[in.lo-off:in.hi-off], part.in+in.lo-part.at); err != nil {
			return err
		}
	}
	return nil
}

// readTar fills p with what is at an offset of the tar.
func (r *Reader) readTar(ctx context.Context, p []byte, at int64) error {
	for piece, err := range r.pieces(ctx, span{at, at + int64(len(p))}) {
		if err != nil {
			return damaged(err)
		}
		plain, err := r.frame(ctx, piece)
		if err != nil {
			return damaged(err)
		}
		copy(p[piece.at-at:], plain[piece.lo:piece.hi])
	}
	return nil
}

// frame gives the whole frame that a piece is of.
func (r *Reader) frame(ctx context.Context, p piece) ([]byte, error) {
	key := cacheKey{p.frame.digest, plainFrame, 0}
	return through(ctx, r.o.Cache, key, func(plain []byte) int64 { return int64(len(plain)) }, func() ([]byte, error) {
		release, err := r.o.Cache.slot(ctx)
		if err != nil {
			return nil, err
		}
		defer release()
		stored, err := p.origin.fetch(ctx, p.frame.place, int64(p.frame.stored))
		if err != nil {
			return nil, err
		}
		p.lo, p.hi = 0, p.frame.plain
		b := block{stored: stored, plain: make([]byte, 0, p.frame.plain)}
		err = p.unframe(r, &b)
		return b.plain, err
	})
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
	if err := r.readTar(ctx, blocks, e.from); err != nil {
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
