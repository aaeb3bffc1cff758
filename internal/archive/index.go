package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// frameRecord is a data frame in an index block. Where it lies, stored and plain, is the sum of those before it.
type frameRecord struct {
	_      struct{} `cbor:",toarray"`
	Stored uint32   // bytes as stored
	Plain  uint32   // bytes of the stream
	Digest [sha256.Size]byte
}

// sliceRecord is a piece of the tar: a range of the plain data of one archive. Slices follow one another without gaps.
type sliceRecord struct {
	_       struct{} `cbor:",toarray"`
	Archive int
	At      int64 // where in that archive's plain data the piece begins
	Length  int64
}

// indexWriter gathers the index of an archive while its data are written. Entries and frames may come from different goroutines.
type indexWriter struct {
	codec   codec
	encoder *zstd.Encoder
	entries blockWriter
	frames  blockWriter
	slices  blockWriter

	leans  []lean
	made   *moment
	last   sliceRecord // which may go on
	path   string      // of the last entry
	record entryRecord
	totals totals
	stored int64 // bytes of frames

	digest [sha256.Size]byte // of the directory, once it is written
}

func newIndexWriter(scratch string) (*indexWriter, error) {
	c, err := newCodec()
	if err != nil {
		return nil, err
	}
	e, err := newSectionEncoder()
	if err != nil {
		return nil, err
	}
	of := func(kind tag) blockWriter {
		return blockWriter{codec: c, encoder: e, kind: kind, shelf: shelf{dir: scratch}}
	}
	return &indexWriter{
		codec: c, encoder: e, entries: of(entrySection), frames: of(frameSection), slices: of(sliceSection),
	}, nil
}

func (x *indexWriter) close() {
	for _, w := range []*blockWriter{&x.entries, &x.frames, &x.slices} {
		w.shelf.close()
	}
}

// entry adds an entry. They come in the order of the walk.
func (x *indexWriter) entry(m *member) error {
	if x.totals.Entries > 0 && ComparePaths(x.path, m.Path) >= 0 {
		return fmt.Errorf("index %q: it comes after %q", m.Path, x.path)
	}
	fresh, err := x.entries.fresh()
	if err != nil {
		return err
	}
	common := 0
	if !fresh {
		common = shared(x.path, m.Path)
	}
	x.record.set(m)
	x.record.Shared, x.record.Rest = uint32(common), []byte(m.Path[common:])
	x.path = m.Path
	x.totals.Entries++
	x.totals.Bytes += m.Size
	return x.entries.add(&x.record, blockInfo{Path: []byte(m.Path[:min(len(m.Path), maxKey)])})
}

// frame adds a data frame of the archive itself. They come in the order in which they are stored.
func (x *indexWriter) frame(b *block) error {
	if _, err := x.frames.fresh(); err != nil {
		return err
	}
	r := frameRecord{Stored: uint32(len(b.stored)), Plain: uint32(len(b.plain)), Digest: b.digest}
	if err := x.frames.add(&r, blockInfo{At: x.totals.Plain, Stored: x.stored}); err != nil {
		return err
	}
	x.totals.Frames++
	x.totals.Plain += int64(len(b.plain))
	x.stored += int64(len(b.stored))
	return nil
}

// joins tells whether a slice goes on where another ends.
func (s sliceRecord) joins(before sliceRecord) bool {
	return s.Archive == before.Archive && s.At == before.At+before.Length
}

// parts adds the pieces of the tar that come with a block. Its own data, if it has any, are about to be added as a frame.
func (x *indexWriter) parts(b *block) error {
	for _, s := range b.parts {
		if s.Archive == 0 {
			s.At += x.totals.Plain
		}
		if err := x.slice(s); err != nil {
			return err
		}
	}
	return nil
}

// slice adds the next piece of the tar.
func (x *indexWriter) slice(s sliceRecord) error {
	if s.joins(x.last) {
		x.last.Length += s.Length
		return nil
	}
	if err := x.endSlice(); err != nil {
		return err
	}
	x.last = s
	return nil
}

// endSlice writes the slice that might have gone on.
func (x *indexWriter) endSlice() error {
	if x.last.Length == 0 {
		return nil
	}
	if _, err := x.slices.fresh(); err != nil {
		return err
	}
	if err := x.slices.add(&x.last, blockInfo{At: x.totals.Tar}); err != nil {
		return err
	}
	x.totals.Tar += x.last.Length
	x.last = sliceRecord{}
	return nil
}

// finish writes the index after the data. Frames and slices come last, since a reader that fetches the end of an archive
// has most of them, or all, at once.
func (x *indexWriter) finish(ctx context.Context, out *stored) error {
	if err := x.endSlice(); err != nil {
		return err
	}
	t := trailer{index: out.size}
	d := directory{Leans: x.leans, Totals: x.totals, Made: x.made}
	for _, w := range []*blockWriter{&x.entries, &x.frames, &x.slices} {
		if err := w.seal(); err != nil {
			return err
		}
		d.Blocks = append(d.Blocks, w.blocks...)
		if err := w.shelf.all(func(p []byte) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return out.write(p)
		}); err != nil {
			return err
		}
	}
	var plain bytes.Buffer
	if err := x.codec.append(&plain, &d); err != nil {
		return err
	}
	section := appendSection(nil, directorySection, x.encoder, plain.Bytes())
	if plain.Len() > maxSection || len(section) > maxSection {
		return fmt.Errorf("index: a directory of %d bytes, at most %d can be kept", plain.Len(), maxSection)
	}
	t.directory, t.length, t.digest = out.size, int64(len(section)), sha256.Sum256(section)
	x.digest = t.digest
	return out.write(t.append(section))
}
