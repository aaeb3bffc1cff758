package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress"
	"github.com/klauspost/compress/zstd"
)

// What RFC 8878 says of a frame in a single segment with four bytes of content size and a checksum.
const (
	zstdMagic       = 0xFD2FB528
	frameDescriptor = 0b10_1_00_1_00 // content size in 4 bytes, single segment, checksum
	rawBlock        = 0 << 1
	runBlock        = 1 << 1
	blockTypes      = 3 << 1
	lastBlock       = 1
	blockSize       = 128 << 10 // the most that a block of a frame may hold
	blockHeaderSize = 3
	checksumSize    = 4
	smallBlock      = 64 << 10 // what the encoder's fastest level makes of data that does not compress; see framer.frame
	maxStoredFrame  = frameSize + frameSize/smallBlock*blockHeaderSize + zstd.HeaderMaxSize + checksumSize
)

// framer makes frames of blocks, several at once.
type framer struct {
	encoder *zstd.Encoder // nil: not compressed
}

func newFramer(level Level, workers int) (*framer, error) {
	if level == None {
		return &framer{}, nil
	}
	e, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(levels()[level].encoder),
		zstd.WithEncoderConcurrency(workers),
		zstd.WithWindowSize(frameSize),
		zstd.WithSingleSegment(true),
		zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, fmt.Errorf("set up compression %v: %w", level, err)
	}
	return &framer{encoder: e}, nil
}

// frame fills in the stored form of a block. What compressing has made longer is stored as it is: the encoder's frames of data that does not
// compress have more blocks. A block may have come with nothing of its own.
func (f *framer) frame(b *block) {
	if len(b.plain) == 0 {
		return
	}
	compressed := f.encoder != nil && compressible(b.plain)
	if compressed {
		b.stored = f.encoder.EncodeAll(b.plain, b.stored[:0])
	}
	if !compressed || len(b.stored) >= rawFrameSize(len(b.plain)) {
		b.stored = appendRawFrame(b.stored[:0], b.plain)
	}
	b.digest = sha256.Sum256(b.stored)
}

// compressible tells whether samples of the data look as if compressing could gain anything. Trying costs four times as much as
// not trying, which counts for volumes of pictures, films and archives.
func compressible(plain []byte) bool {
	const (
		samples    = 8
		sampleSize = 4 << 10
		least      = 0.1 // "values above 0.1 are likely to be compressible"
	)
	for i := range samples {
		at := i * (len(plain) / samples)
		if compress.Estimate(plain[at:min(at+sampleSize, len(plain))]) > least {
			return true
		}
	}
	return len(plain) < samples*sampleSize // trying is as cheap as guessing
}

// rawFrameSize is the length of what appendRawFrame appends for n bytes.
func rawFrameSize(n int) int {
	const around = 4 + 1 + 4 + checksumSize // magic, descriptor, content size
	return around + max(1, (n+blockSize-1)/blockSize)*blockHeaderSize + n
}

// appendRawFrame appends a frame that holds plain as it is.
func appendRawFrame(dst, plain []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, zstdMagic)
	dst = append(dst, frameDescriptor)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(plain)))
	for rest := plain; ; {
		n := min(len(rest), blockSize)
		header := uint32(n)<<3 | rawBlock
		if n == len(rest) {
			header |= lastBlock
		}
		dst = append(dst, byte(header), byte(header>>8), byte(header>>16))
		dst = append(dst, rest[:n]...)
		if rest = rest[n:]; len(rest) == 0 {
			break
		}
	}
	return binary.LittleEndian.AppendUint32(dst, uint32(xxhash.Sum64(plain)))
}
