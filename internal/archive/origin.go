package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"

	"github.com/klauspost/compress/zstd"
)

// Source gives n bytes of a stored archive from an offset on, wherever it lies. It is called from several goroutines at once. What it gives
// may be shorter only with an error of its Read, and is closed after use. An archive that is not there is fs.ErrNotExist, and one that has
// ended before is io.EOF: all other errors are a SourceError to whoever reads.
type Source func(ctx context.Context, off, n int64) (io.ReadCloser, error)

// SourceError is why a Source could not be read: a disk that is not mounted, a server that refuses, or that nobody reaches. It says nothing
// of the archive, which may be sound.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return e.Err.Error() }
func (e *SourceError) Unwrap() error { return e.Err }

// blamed is the source with its errors as SourceErrors.
func (s Source) blamed() Source {
	return func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
		r, err := s(ctx, off, n)
		if err != nil {
			return nil, blame(err)
		}
		return blamedReader{r}, nil
	}
}

type blamedReader struct{ io.ReadCloser }

func (r blamedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	return n, blame(err)
}

func blame(err error) error {
	if err == nil || err == io.EOF || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return &SourceError{err}
}

// fetchSize is the most of an index that is read at once.
const fetchSize = 4 << 20

// tailSize is how much of an archive is read first, from its end. It has the directory, and as a rule all that the index has of frames
// (some 40 bytes each), so that one request is enough for these.
func tailSize(archive int64) int64 {
	const least, most = 64 << 10, 1 << 20
	return min(least+archive>>13, most, archive)
}

// origin is an archive as a place where data lie.
type origin struct {
	name      string // "" for the snapshot's own
	source    Source
	size      int64
	codec     codec
	decoder   *zstd.Decoder
	trailer   trailer
	directory *directory
	tail      []byte // the last bytes of the archive

	cache *Cache

	frameBlocks []*blockInfo
}

// openOrigin reads an archive's trailer and directory: with one request, unless the directory is long.
func openOrigin(ctx context.Context, src Source, size int64, c codec, d *zstd.Decoder, cache *Cache) (*origin, error) {
	o := &origin{source: src.blamed(), size: size, codec: c, decoder: d, cache: cache}
	n := tailSize(size)
	if n < trailerSize {
		return nil, fmt.Errorf("read trailer: an archive of %d bytes: %w", size, io.ErrUnexpectedEOF)
	}
	var err error
	if o.tail, err = o.read(ctx, size-n, n); err != nil {
		return nil, fmt.Errorf("read trailer: %w", err)
	}
	if o.trailer, err = parseTrailer(o.tail, size); err != nil {
		return nil, err
	}
	section, err := o.fetch(ctx, o.trailer.directory, o.trailer.length)
	if err != nil {
		return nil, fmt.Errorf("read directory: %w", err)
	}
	if sha256.Sum256(section) != o.trailer.digest {
		return nil, fmt.Errorf("read directory: %w", errDigest)
	}
	plain, err := openSection(d, directorySection, section)
	if err != nil {
		return nil, err
	}
	if o.directory, err = parseDirectory(plain, c, o.trailer); err != nil {
		return nil, err
	}
	o.frameBlocks = o.directory.of(frameSection)
	return o, nil
}

// errDigest says that something is not what it was when it was written.
var errDigest = errors.New("damaged: its SHA-256 is another one")

// fetch gives a part of the archive, which is known to lie within it.
func (o *origin) fetch(ctx context.Context, off, n int64) ([]byte, error) {
	if tail := o.inTail(off, n); tail != nil {
		return tail, nil
	}
	return o.read(ctx, off, n)
}

// stream is fetch for parts that are too long to be held in memory.
func (o *origin) stream(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	if tail := o.inTail(off, n); tail != nil {
		return io.NopCloser(bytes.NewReader(tail)), nil
	}
	return o.source(ctx, off, n)
}

func (o *origin) inTail(off, n int64) []byte {
	at := off - (o.size - int64(len(o.tail)))
	if at < 0 {
		return nil
	}
	return o.tail[at : at+n]
}

func (o *origin) read(ctx context.Context, off, n int64) ([]byte, error) {
	r, err := o.source(ctx, off, n)
	if err != nil {
		return nil, err
	}
	defer r.Close() // it was only read from
	p := make([]byte, n)
	if _, err := io.ReadFull(r, p); err != nil {
		return nil, fmt.Errorf("%d bytes at %d: %w", n, off, unexpected(err))
	}
	return p, nil
}

// blocks gives the records of index blocks that lie beside one another, fetching many of them at once.
func (o *origin) blocks(ctx context.Context, all []*blockInfo) iter.Seq2[*blockInfo, blockResult] {
	return func(yield func(*blockInfo, blockResult) bool) {
		for len(all) > 0 {
			n, length := 1, all[0].Length
			for n < len(all) && length+all[n].Length <= fetchSize && all[n].place == all[0].place+length {
				length += all[n].Length
				n++
			}
			stored, err := o.fetch(ctx, all[0].place, length)
			for _, b := range all[:n] {
				var got blockResult
				if got.err = err; err == nil {
					got.records, got.err = o.open(b, stored[b.place-all[0].place:][:b.Length])
				}
				if got.err != nil {
					got.err = fmt.Errorf("read %v at %d: %w", b.Kind, b.place, got.err)
				}
				if !yield(b, got) {
					return
				}
			}
			all = all[n:]
		}
	}
}

type blockResult struct {
	records []byte
	err     error
}

func (o *origin) open(b *blockInfo, section []byte) ([]byte, error) {
	if sha256.Sum256(section) != b.Digest {
		return nil, errDigest
	}
	records, err := openSection(o.decoder, b.Kind, section)
	if err != nil {
		return nil, err
	}
	if int64(len(records)) != b.Plain {
		return nil, fmt.Errorf("%d bytes of records, not %d", len(records), b.Plain)
	}
	return records, nil
}

// each decodes records one after the other into the same value, and calls got after each. There must be as many as the block says.
func each[R any](c codec, b *blockInfo, records []byte, got func(*R) error) error {
	for n := int64(0); ; n++ {
		var record R
		rest, err := c.next(records, &record)
		if err == io.EOF && n == b.Count {
			return nil
		}
		if err == io.EOF || err == nil && n >= b.Count {
			return fmt.Errorf("read %v at %d: not the %d records that it should have", b.Kind, b.place, b.Count)
		}
		if err == nil {
			err = got(&record)
		}
		if err != nil {
			return fmt.Errorf("read %v at %d: %w", b.Kind, b.place, err)
		}
		records = rest
	}
}
