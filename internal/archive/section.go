package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Everything after the data frames lies in sections: skippable frames (RFC 8878, 3.1.2) of this magic number, so that zstd and tar
// pass over them. Their first byte says what they are.
const (
	sectionMagic     = 0x184D2A5B
	skippableID      = sectionMagic & 0xf // as zstd.Header has it
	skippableHeader  = 8                  // magic and length, little-endian
	sectionHeader    = skippableHeader + 1
	maxSection       = 32 << 20 // the most that a section may hold, stored or plain: this is what bounds a reader's memory
	sectionOverheads = sectionHeader + zstd.HeaderMaxSize
)

// tag says what a section is.
type tag byte

const (
	frameSection     tag = 'F' // records of the data frames
	sliceSection     tag = 'S' // records of the slices
	entrySection     tag = 'E' // records of the entries
	directorySection tag = 'D'
	trailerSection   tag = 'T'
)

func (t tag) String() string {
	switch t {
	case frameSection:
		return "frame index"
	case sliceSection:
		return "slice index"
	case entrySection:
		return "entry index"
	case directorySection:
		return "directory"
	case trailerSection:
		return "trailer"
	}
	return fmt.Sprintf("section %q", byte(t))
}

// appendSection appends a section of one compressed zstd frame.
func appendSection(dst []byte, t tag, e *zstd.Encoder, plain []byte) []byte {
	at := len(dst)
	dst = appendSectionHeader(dst, t, 0)
	dst = e.EncodeAll(plain, dst)
	binary.LittleEndian.PutUint32(dst[at+4:], uint32(len(dst)-at-skippableHeader))
	return dst
}

// appendSectionHeader appends what goes before so many bytes of a section.
func appendSectionHeader(dst []byte, t tag, n int) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, sectionMagic)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(1+n))
	return append(dst, byte(t))
}

// parseSectionHeader says what a section is and how long it is, this header included.
func parseSectionHeader(b []byte) (t tag, length int64, err error) {
	if len(b) < sectionHeader {
		return 0, 0, io.ErrUnexpectedEOF
	}
	if binary.LittleEndian.Uint32(b) != sectionMagic {
		return 0, 0, errors.New("not one of an archive of backupd")
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n == 0 || n > maxSection {
		return 0, 0, fmt.Errorf("a length of %d bytes", n)
	}
	return tag(b[8]), skippableHeader + int64(n), nil
}

// openSection gives the plain contents of a whole section, which is to be of this kind.
func openSection(d *zstd.Decoder, want tag, section []byte) ([]byte, error) {
	t, length, err := parseSectionHeader(section)
	if err != nil {
		return nil, fmt.Errorf("read %v: %w", want, err)
	}
	if t != want || length != int64(len(section)) {
		return nil, fmt.Errorf("read %v: there is %v of %d bytes", want, t, length)
	}
	var h zstd.Header
	stored := section[sectionHeader:]
	if err := h.Decode(stored); err != nil {
		return nil, fmt.Errorf("read %v: %w", want, err)
	}
	if h.Skippable || !h.HasCheckSum || !h.HasFCS || h.FrameContentSize > maxSection {
		return nil, fmt.Errorf("read %v: a frame of another shape", want)
	}
	plain, err := d.DecodeAll(stored, make([]byte, 0, h.FrameContentSize))
	if err != nil {
		return nil, fmt.Errorf("read %v: %w", want, err)
	}
	return plain, nil
}

// newSectionEncoder compresses sections, which are compressed also where data are not.
func newSectionEncoder() (*zstd.Encoder, error) {
	e, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(frameSize),
		zstd.WithSingleSegment(true),
		zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, fmt.Errorf("set up compression of the index: %w", err)
	}
	return e, nil
}

// newSectionDecoder decompresses frames of data and sections. It never writes beyond the capacity that it is given.
func newDecoder(workers int) (*zstd.Decoder, error) {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(workers),
		zstd.WithDecoderMaxWindow(maxSection),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("set up decompression: %w", err)
	}
	return d, nil
}
