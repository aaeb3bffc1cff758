package archive

import (
	"context"
	"fmt"
	"iter"
	"sort"
	"unsafe"
)

// piece is a part of the tar that lies in one frame.
type piece struct {
	origin *origin
	frame  frame
	lo, hi int   // which part of the frame's plain bytes
	at     int64 // where in the tar it begins

	opened *opened // its frame, where other pieces may want that, too; else nil
}

// span is a range of the tar, from lo up to hi.
type span struct{ lo, hi int64 }

func (s span) and(other span) span { return span{max(s.lo, other.lo), min(s.hi, other.hi)} }

func (s span) empty() bool { return s.lo >= s.hi }

// pieces finds what lies where of a range of the tar.
func (r *Reader) pieces(ctx context.Context, want span) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		for s, err := range r.slices(ctx, want) {
			if err != nil {
				yield(piece{}, err)
				return
			}
			if !r.inFrames(ctx, s, want, yield) {
				return
			}
		}
	}
}

// inFrames gives the pieces of one slice.
func (r *Reader) inFrames(ctx context.Context, s slice, want span, yield func(piece, error) bool) bool {
	o, err := r.origin(ctx, s.archive)
	if err != nil {
		yield(piece{}, err)
		return false
	}
	part := s.in.and(want)
	shift := s.at - s.in.lo // from places in the tar to places in the origin's data
	if part.hi+shift > o.directory.Totals.Plain {
		yield(piece{}, fmt.Errorf("find offset %d of the tar in archive %d: beyond its end", part.lo, s.archive))
		return false
	}
	for f, err := range o.framesFrom(ctx, part.lo+shift) {
		if err != nil {
			yield(piece{}, err)
			return false
		}
		in := span{f.at, f.at + int64(f.plain)}.and(span{part.lo + shift, part.hi + shift})
		if in.empty() {
			return true
		}
		if !yield(piece{origin: o, frame: f, lo: int(in.lo - f.at), hi: int(in.hi - f.at), at: in.lo - shift}, nil) {
			return false
		}
		if in.hi == part.hi+shift {
			return true
		}
	}
	return true
}

// slice is a piece of the tar and the place in an archive's plain data where it lies.
type slice struct {
	in      span // of the tar
	archive int
	at      int64
}

// slices gives those that a range of the tar touches.
func (r *Reader) slices(ctx context.Context, want span) iter.Seq2[slice, error] {
	return func(yield func(slice, error) bool) {
		blocks := r.sliceBlocks
		i := max(sort.Search(len(blocks), func(i int) bool { return blocks[i].At > want.lo })-1, 0)
		for ; i < len(blocks) && blocks[i].At < want.hi; i++ {
			all, err := r.loadSlices(ctx, i)
			if err != nil {
				yield(slice{}, err)
				return
			}
			first := sort.Search(len(all), func(i int) bool { return all[i].in.hi > want.lo })
			for _, s := range all[first:] {
				if s.in.lo >= want.hi || !yield(s, nil) {
					return
				}
			}
		}
	}
}

// loadSlices gives the slices of one block.
func (r *Reader) loadSlices(ctx context.Context, i int) ([]slice, error) {
	key := cacheKey{r.own.trailer.digest, sliceSection, int64(i)}
	return through(ctx, r.o.Cache, key, weighSlices, func() ([]slice, error) { return r.fetchSlices(ctx, i) })
}

func weighSlices(all []slice) int64 { return int64(len(all)) * int64(unsafe.Sizeof(slice{})) }

func (r *Reader) fetchSlices(ctx context.Context, i int) (all []slice, err error) {
	end := r.own.directory.Totals.Tar
	if i+1 < len(r.sliceBlocks) {
		end = r.sliceBlocks[i+1].At
	}
	for b, got := range r.own.blocks(ctx, r.sliceBlocks[i:i+1]) {
		if got.err != nil {
			return nil, got.err
		}
		if all, err = r.parseSlices(b, got.records, end); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// parseSlices reads the slices of a block, which end at this offset of the tar.
func (r *Reader) parseSlices(b *blockInfo, records []byte, end int64) ([]slice, error) {
	var all []slice
	at := b.At
	err := each(r.own.codec, b, records, func(s *sliceRecord) error {
		if s.Archive < 0 || s.Archive > len(r.own.directory.Leans) || s.At < 0 || s.At > maxSize || s.Length <= 0 || s.Length > end-at {
			return fmt.Errorf("a slice of %d bytes at %d of archive %d", s.Length, s.At, s.Archive)
		}
		all = append(all, slice{span{at, at + s.Length}, s.Archive, s.At})
		at += s.Length
		return nil
	})
	if err != nil {
		return nil, err
	}
	if at != end {
		return nil, fmt.Errorf("read %v at %d: its slices are not those up to the next block", b.Kind, b.place)
	}
	return all, nil
}
