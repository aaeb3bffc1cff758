package archive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Tap is a writer that passes an archive on, and its index to another writer besides: all from the first section on. By that alone a Reader
// finds what is in the archive, though not the data.
type Tap struct {
	to, index io.Writer

	head    []byte // of what comes next, until it is known how long that is
	left    int64  // bytes until the head of something else
	data    int64  // bytes of data frames so far
	blocks  bool   // in a data frame, whose blocks have heads of their own
	indexed bool
}

// NewTap makes a Tap.
func NewTap(to, index io.Writer) *Tap { return &Tap{to: to, index: index} }

// Data is how many bytes went by before the index.
func (t *Tap) Data() int64 { return t.data }

// Write passes bytes on.
func (t *Tap) Write(p []byte) (int, error) {
	n, err := t.to.Write(p)
	if err != nil {
		return n, err
	}
	for rest := p; len(rest) > 0; {
		took, err := t.take(rest)
		if err != nil {
			return len(p), fmt.Errorf("tell an archive's index from its data: %w", err)
		}
		rest = rest[took:]
	}
	return len(p), nil
}

// take takes some bytes, at least one.
func (t *Tap) take(p []byte) (int, error) {
	if t.indexed {
		return t.index.Write(p)
	}
	if t.left > 0 {
		n := min(t.left, int64(len(p)))
		t.left -= n
		t.data += n
		return int(n), nil
	}
	t.head = append(t.head, p[0])
	return 1, t.look()
}

// look finds out what has begun, once there is enough of it.
func (t *Tap) look() error {
	if t.blocks {
		t.block()
		return nil
	}
	if len(t.head) < 4 {
		return nil
	}
	switch binary.LittleEndian.Uint32(t.head) {
	case sectionMagic:
		t.indexed = true
		_, err := t.index.Write(t.head)
		return err
	case zstdMagic:
	default:
		return errors.New("a frame of another shape")
	}
	var h zstd.Header
	if err := h.Decode(t.head); errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	} else if err != nil {
		return err
	}
	if h.HeaderSize == len(t.head) {
		t.next()
		t.blocks = true
	}
	return nil
}

// block looks at the head of a block, which says how long it is.
func (t *Tap) block() {
	if len(t.head) < blockHeaderSize {
		return
	}
	head := uint32(t.head[0]) | uint32(t.head[1])<<8 | uint32(t.head[2])<<16
	t.next()
	t.left = int64(head >> 3)
	if head&blockTypes == runBlock {
		t.left = 1
	}
	if head&lastBlock != 0 {
		t.left += checksumSize
		t.blocks = false
	}
}

// next goes on after a head.
func (t *Tap) next() {
	t.data += int64(len(t.head))
	t.head = t.head[:0]
}

// IndexSource gives of an archive what a Tap has put aside of it, after so many bytes of data, for which there are zeros: nothing that a reader's
// digests would pass for data.
func IndexSource(index io.ReaderAt, data int64) Source {
	return func(_ context.Context, off, n int64) (io.ReadCloser, error) {
		lack := max(0, min(data-off, n))
		return io.NopCloser(io.MultiReader(io.LimitReader(zeros{}, lack), io.NewSectionReader(index, off+lack-data, n-lack))), nil
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
