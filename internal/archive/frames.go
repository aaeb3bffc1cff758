package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"sort"
	"unsafe"
)

// frame is a data frame and where it lies.
type frame struct {
	place  int64 // in the stored archive
	stored int   // bytes there
	at     int64 // in the plain data of its archive
	plain  int   // bytes there
	digest [sha256.Size]byte
}

// end is where in the stored archive the next one begins.
func (f *frame) end() int64 { return f.place + int64(f.stored) }

// framesFrom gives the frames of an archive from the one on that has this plain offset. It lies within the archive's data.
func (o *origin) framesFrom(ctx context.Context, at int64) iter.Seq2[frame, error] {
	return func(yield func(frame, error) bool) {
		i := sort.Search(len(o.frameBlocks), func(i int) bool { return o.frameBlocks[i].At > at }) - 1
		for ; i >= 0 && i < len(o.frameBlocks); i++ {
			all, err := o.load(ctx, i)
			if err != nil {
				yield(frame{}, err)
				return
			}
			skip := sort.Search(len(all), func(i int) bool { return all[i].at+int64(all[i].plain) > at })
			for _, f := range all[skip:] {
				if !yield(f, nil) {
					return
				}
			}
		}
		yield(frame{}, fmt.Errorf("find offset %d in the data: %w", at, errMissing))
	}
}

// load gives the frames of one block.
func (o *origin) load(ctx context.Context, i int) ([]frame, error) {
	key := cacheKey{o.trailer.digest, frameSection, int64(i)}
	return through(ctx, o.cache, key, weighFrames, func() ([]frame, error) { return o.fetchFrames(ctx, i) })
}

func weighFrames(all []frame) int64 { return int64(len(all)) * int64(unsafe.Sizeof(frame{})) }

func (o *origin) fetchFrames(ctx context.Context, i int) (all []frame, err error) {
	b := o.frameBlocks[i]
	for _, got := range o.blocks(ctx, o.frameBlocks[i:i+1]) {
		if got.err != nil {
			return nil, got.err
		}
		at, place := o.directory.Totals.Plain, o.trailer.index // where the next block begins
		if i+1 < len(o.frameBlocks) {
			at, place = o.frameBlocks[i+1].At, o.frameBlocks[i+1].Stored
		}
		if all, err = parseFrames(o.codec, b, got.records, at, place); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// parseFrames reads the frames of a block, which end at these offsets in the plain and the stored data.
func parseFrames(c codec, b *blockInfo, records []byte, endAt, endPlace int64) ([]frame, error) {
	all := make([]frame, 0, b.Count)
	at, place := b.At, b.Stored
	err := each(c, b, records, func(r *frameRecord) error {
		if r.Plain == 0 || r.Plain > frameSize || r.Stored == 0 || r.Stored > maxStoredFrame {
			return fmt.Errorf("a frame of %d bytes in %d", r.Plain, r.Stored)
		}
		all = append(all, frame{place, int(r.Stored), at, int(r.Plain), r.Digest})
		at += int64(r.Plain)
		place += int64(r.Stored)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if at != endAt || place != endPlace {
		return nil, fmt.Errorf("read %v at %d: %w", b.Kind, b.place, errors.New("its frames are not those up to the next block"))
	}
	return all, nil
}
