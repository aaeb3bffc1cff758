package seal

import (
	"bytes"
	"context"
	"io"

	"filippo.io/age"
	"golang.org/x/sync/errgroup"
)

// Source gives n bytes of something encrypted, from an offset on. It is called from several goroutines at once. Less than n bytes with the
// end of the stream are the end of the object.
type Source func(ctx context.Context, off, n int64) (io.ReadCloser, error)

// The pieces of a file of age, each authentic by itself (https://age-encryption.org/v1, "Payload").
const (
	pieceSize  = 64 << 10            // plain
	sealedSize = pieceSize + 16      // as stored
	nonceSize  = 16                  // between the header and the first of them
	headSize   = 64 << 10            // more than any header takes
	tailSize   = 4 * sealedSize      // at least the last piece; so much that the end of most archives is in it
	smallSize  = headSize + tailSize // what is fetched at once
)

// Object is something encrypted that can be read at any point.
type Object struct {
	source     Source
	size       int64 // as stored
	plain      int64
	head, tail []byte // of what is stored
	header     int64  // its length
	key        age.Identity
}

// Open makes ready to read an object of so many stored bytes: it fetches its beginning and its end, and proves by the end how long it is.
// The error is ErrLocked for want of a key, ErrDamaged, or the source's.
func Open(ctx context.Context, source Source, size int64, keys *Keys) (*Object, error) {
	if _, err := keys.identities(); err != nil {
		return nil, err // nothing need be fetched to find that out
	}
	o := &Object{source: source, size: size}
	if err := o.fetch(ctx); err != nil {
		return nil, err
	}
	header, err := age.ExtractHeader(bytes.NewReader(o.head))
	if err != nil {
		return nil, damaged("%w", err)
	}
	o.header = int64(len(header))
	if o.key, err = keys.unlock(header); err != nil {
		return nil, err
	}
	w := &window{object: o, open: func(int64, int64) (io.ReadCloser, error) { return nil, io.ErrUnexpectedEOF }}
	if _, o.plain, err = age.DecryptReaderAt(w, size, o.key); err != nil {
		return nil, damaged("%w", err)
	}
	return o, nil
}

// Size is how many bytes were encrypted.
func (o *Object) Size() int64 { return o.plain }

// fetch gets the beginning and the end, at once.
func (o *Object) fetch(ctx context.Context) (err error) {
	if o.size <= smallSize {
		o.head, err = o.part(ctx, 0, o.size)
		o.tail = o.head
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		o.head, err = o.part(ctx, 0, headSize)
		return err
	})
	g.Go(func() (err error) {
		o.tail, err = o.part(ctx, o.size-tailSize, tailSize)
		return err
	})
	return g.Wait()
}

func (o *Object) part(ctx context.Context, off, n int64) ([]byte, error) {
	from, err := o.source(ctx, off, n)
	if err != nil {
		return nil, err
	}
	defer from.Close() // it was only read from
	p := make([]byte, n)
	got, err := io.ReadFull(from, p)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, damaged("it is cut off: there is nothing at byte %d of %d", off+int64(got), o.size)
	}
	return p, err
}

// Range gives n plain bytes from an offset on. They come from one request of the source, or from none when they lie at the end.
//
// Where a piece is not what was written there are zeros in its place, so that what comes after it can be read. So who reads must know by
// itself what is right, as the reader of an archive does, which has a digest of everything.
func (o *Object) Range(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	end := min(off+n, o.plain)
	w := &window{object: o, end: o.stored(end), open: func(off, n int64) (io.ReadCloser, error) { return o.source(ctx, off, n) }}
	plain, _, err := age.DecryptReaderAt(w, o.size, o.key)
	if err != nil {
		return nil, damaged("%w", err) // it was right when the object was opened
	}
	return &reader{plain: plain, from: w, at: off, end: end, buffer: make([]byte, pieceSize)}, nil
}

// stored is where what is needed for the plain bytes up to an offset ends. The last piece is always there.
func (o *Object) stored(plain int64) int64 {
	pieces := (plain + pieceSize - 1) / pieceSize
	last := max(o.plain-1, 0) / pieceSize
	return o.header + nonceSize + min(pieces, last)*sealedSize
}
