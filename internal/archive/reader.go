package archive

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Lean is another archive in which data of a snapshot lie.
type Lean struct {
	Name      string   // as whoever made the archive called it
	Size      int64    // bytes
	Directory [32]byte // the SHA-256 of its directory, which vouches for all else in it
}

// LeanError is why an archive that another one leans on cannot be read.
type LeanError struct {
	Name string
	Err  error
}

func (e *LeanError) Error() string {
	return fmt.Sprintf("open archive %q, which this one leans on: %v", e.Name, e.Err)
}
func (e *LeanError) Unwrap() error { return e.Err }

// ReaderOptions say how to read an archive at any point.
type ReaderOptions struct {
	Workers int // that decompress at the same time; 0 is one per processor, up to eight

	// Cache keeps what was read, for what is read again; nil for one of the reader's own, which holds little beside the last part of an index.
	Cache *Cache

	// Archive finds an archive that this one leans on. It may be nil when there is none. It is called when the first of its
	// data are wanted, once.
	Archive func(ctx context.Context, l Lean) (Source, error)
}

// Reader reads an archive at any point, by its index. Its methods may be called from several goroutines.
type Reader struct {
	own     *origin
	o       ReaderOptions
	decoder *zstd.Decoder

	entryBlocks []*blockInfo
	sliceBlocks []*blockInfo

	mu     sync.Mutex
	others map[int]*origin // those that were wanted so far
}

// ownCache is the bytes of a reader's own cache.
const ownCache = 1 << 20

// Open reads the end of an archive of so many bytes. An archive that is cut off, or that was made without an index, is an error.
func Open(ctx context.Context, src Source, size int64, o ReaderOptions) (*Reader, error) {
	c, err := newCodec()
	if err != nil {
		return nil, err
	}
	o.Workers = workersOr(o.Workers)
	d, err := newDecoder(o.Workers)
	if err != nil {
		return nil, err
	}
	if o.Cache == nil {
		o.Cache = NewCache(ownCache)
	}
	own, err := openOrigin(ctx, src, size, c, d, o.Cache)
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("open archive: %w", damaged(err))
	}
	return &Reader{
		own: own, o: o, decoder: d, others: make(map[int]*origin),
		entryBlocks: own.directory.of(entrySection), sliceBlocks: own.directory.of(sliceSection),
	}, nil
}

// Close lets go of the reader's memory. Nothing of it is in use any more.
func (r *Reader) Close() { r.decoder.Close() }

// Contents is what a directory says of its archive.
type Contents struct {
	Entries int64
	Bytes   int64 // of file data
	Tar     int64 // bytes of the plain tar
	Leans   []Lean

	Directory [32]byte // its SHA-256, as in the Summary of Create
}

// Contents tells what is in the archive.
func (r *Reader) Contents() Contents {
	t := r.own.directory.Totals
	c := Contents{Entries: t.Entries, Bytes: t.Bytes, Tar: t.Tar, Directory: r.own.trailer.digest}
	for _, l := range r.own.directory.Leans {
		c.Leans = append(c.Leans, l.public())
	}
	return c
}

// origin gives the archive that slices call by a number: itself, or one that it leans on, if it is the very one.
func (r *Reader) origin(ctx context.Context, number int) (*origin, error) {
	if number == 0 {
		return r.own, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if o := r.others[number]; o != nil {
		return o, nil
	}
	l := r.own.directory.Leans[number-1]
	o, err := r.openLean(ctx, l)
	if err != nil {
		return nil, &LeanError{string(l.Name), err}
	}
	r.others[number] = o
	return o, nil
}

func (l lean) public() Lean { return Lean{string(l.Name), l.Size, l.Directory} }

func (r *Reader) openLean(ctx context.Context, l lean) (*origin, error) {
	if r.o.Archive == nil {
		return nil, errors.New("nobody says where it is")
	}
	src, err := r.o.Archive(ctx, l.public())
	if err != nil {
		return nil, err
	}
	o, err := openOrigin(ctx, src, l.Size, r.own.codec, r.decoder, r.o.Cache)
	if err != nil {
		return nil, err
	}
	if o.trailer.digest != l.Directory {
		return nil, errors.New("it is another one of that name")
	}
	o.name = string(l.Name)
	return o, nil
}
