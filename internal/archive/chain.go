package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"
)

// chain proves the index of an archive that is read as a stream: that the trailer is there, and vouches for the directory, and that for
// each block, and these for each frame of data. What else the blocks say is not looked at. An archive without an index has nothing to prove.
type chain struct {
	codec   codec
	decoder *zstd.Decoder

	at       int64     // bytes of the archive that went by
	plain    int64     // bytes of the tar in them
	frames   int64     // data frames
	index    int64     // where the first section began
	blocks   hash.Hash // over what identifies each block; nil before the first section
	vouched  hash.Hash // over the digests of frames that the blocks have
	size     int64     // of the directory, when it has been met
	digest   [sha256.Size]byte
	contents []byte // of the directory
	ended    bool   // the trailer has been met, and all is well
}

func newChain(c codec, d *zstd.Decoder) chain {
	return chain{codec: c, decoder: d, vouched: sha256.New()}
}

// data counts a frame of data.
func (c *chain) data(stored int, plain uint64) error {
	if c.blocks != nil {
		return errors.New("read frame: data after the index")
	}
	c.at += int64(stored)
	c.plain += int64(plain)
	c.frames++
	return nil
}

// skippable takes a skippable frame off r, whose header it has.
func (c *chain) skippable(r *bufio.Reader, h *zstd.Header) error {
	length := int64(h.HeaderSize) + int64(h.SkippableSize)
	if h.SkippableID != skippableID {
		if c.blocks != nil {
			return errors.New("skip frame: something foreign in the index or after it")
		}
		if _, err := io.CopyN(io.Discard, r, length); err != nil {
			return fmt.Errorf("skip frame: %w", unexpected(err))
		}
		c.at += length
		return nil
	}
	start, err := r.Peek(sectionHeader)
	if err != nil {
		return fmt.Errorf("read index: %w", unexpected(err))
	}
	t, length, err := parseSectionHeader(start)
	if err != nil {
		return fmt.Errorf("read index: %w", err)
	}
	if err := c.section(r, t, length); err != nil {
		return err
	}
	c.at += length
	return nil
}

func (c *chain) section(r io.Reader, t tag, length int64) error {
	if c.blocks == nil {
		c.index, c.blocks = c.at, sha256.New()
	}
	switch {
	case c.ended, c.contents != nil && t != trailerSection:
		return fmt.Errorf("read index: a %v where it should have ended", t)
	case t == directorySection:
		return c.directory(r, length)
	case t == trailerSection:
		return c.trailer(r, length)
	case t == frameSection:
		return c.frameBlock(r, length)
	}
	digest := sha256.New()
	if _, err := io.CopyN(digest, r, length); err != nil {
		return fmt.Errorf("read %v: %w", t, unexpected(err))
	}
	c.blocks.Write(blockID(t, length, digest.Sum(nil)))
	return nil
}

// frameBlock takes in what a block says that the frames are.
func (c *chain) frameBlock(r io.Reader, length int64) error {
	section, err := readSection(r, frameSection, length)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(section)
	c.blocks.Write(blockID(frameSection, length, digest[:]))
	records, err := openSection(c.decoder, frameSection, section)
	if err != nil {
		return err
	}
	for {
		var f frameRecord
		switch records, err = c.codec.next(records, &f); err {
		case nil:
			c.vouched.Write(f.Digest[:])
		case io.EOF:
			return nil
		default:
			return fmt.Errorf("read %v: %w", frameSection, err)
		}
	}
}

// readSection reads a whole section, of which the length is one that a section may have.
func readSection(r io.Reader, t tag, length int64) ([]byte, error) {
	section, err := io.ReadAll(io.LimitReader(r, length))
	if err == nil && int64(len(section)) < length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("read %v: %w", t, err)
	}
	return section, nil
}

// blockID is what tells a block from any other.
func blockID(t tag, length int64, digest []byte) []byte {
	id := append([]byte{byte(t)}, digest...)
	return binary.LittleEndian.AppendUint64(id, uint64(length))
}

func (c *chain) directory(r io.Reader, length int64) error {
	section, err := readSection(r, directorySection, length)
	if err != nil {
		return err
	}
	c.size, c.digest = length, sha256.Sum256(section)
	c.contents, err = openSection(c.decoder, directorySection, section)
	return err
}

func (c *chain) trailer(r io.Reader, length int64) error {
	if c.contents == nil || length != trailerSize {
		return errors.New("read trailer: no directory before it")
	}
	var b [trailerSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return fmt.Errorf("read trailer: %w", unexpected(err))
	}
	t, err := parseTrailer(b[:], c.at+trailerSize)
	if err != nil {
		return err
	}
	if t.index != c.index || t.length != c.size || t.digest != c.digest {
		return errors.New("read trailer: it belongs to another index")
	}
	d, err := parseDirectory(c.contents, c.codec, t)
	if err != nil {
		return err
	}
	blocks := sha256.New()
	for i := range d.Blocks {
		blocks.Write(blockID(d.Blocks[i].Kind, d.Blocks[i].Length, d.Blocks[i].Digest[:]))
	}
	if [sha256.Size]byte(blocks.Sum(nil)) != [sha256.Size]byte(c.blocks.Sum(nil)) {
		return errors.New("read index: damaged, or that of another archive")
	}
	if d.Totals.Plain != c.plain || d.Totals.Frames != c.frames {
		return fmt.Errorf("read index: it is of %d frames with %d bytes, there are %d with %d",
			d.Totals.Frames, d.Totals.Plain, c.frames, c.plain)
	}
	c.ended = true
	return nil
}

// end tells whether the stream may end here.
func (c *chain) end() error {
	if c.blocks != nil && !c.ended {
		return fmt.Errorf("read index: %w", io.ErrUnexpectedEOF)
	}
	return io.EOF
}

// prove compares an archive that went by to its end with what its directory is to be (zero: any, or none), and its frames, by a hash over
// the digests of all, with those that the index vouches for.
func (c *chain) prove(directory [sha256.Size]byte, frames hash.Hash) error {
	whatever := directory == [sha256.Size]byte{}
	switch {
	case whatever && !c.ended:
		return nil
	case !c.ended:
		return fmt.Errorf("read index: %w", errNoTrailer)
	case !whatever && c.digest != directory:
		return fmt.Errorf("it is another one: the digest of its directory is %x, and was %x when it was written", c.digest, directory)
	case !bytes.Equal(c.vouched.Sum(nil), frames.Sum(nil)):
		return errors.New("frames of it are not what they were when they were written, by their digests")
	}
	return nil
}
