package archive

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// incompressible looks as if it could be compressed, as it begins with as few zeros as it takes, and hardly can.
func incompressible(size int) []byte {
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(data)
	for i := 0; i < size && !compressible(data); i++ {
		data[i] = 0
	}
	return data
}

// A frame is never longer than one that holds its data as it is, or nobody would read it again.
func TestFramesThatDoNotCompress(t *testing.T) {
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	for _, level := range []Level{None, Fastest, Default, Better} {
		f, err := newFramer(level, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{1, 7, 1000, 64 << 10, blockSize, blockSize + 1, frameSize - 1, frameSize} {
			b := &block{plain: incompressible(size)}
			f.frame(b)
			if raw := len(appendRawFrame(nil, b.plain)); len(b.stored) > raw || raw != rawFrameSize(size) || raw > maxStoredFrame {
				t.Errorf("%v: %d bytes became %d, and %d as they are (computed: %d); %d may be read", level, size, len(b.stored), raw, rawFrameSize(size), maxStoredFrame)
			}
			if f.encoder != nil && len(f.encoder.EncodeAll(b.plain, nil)) > maxStoredFrame { // as they were once stored
				t.Errorf("%v: a frame of %d bytes could not be read", level, size)
			}
			if plain, err := decoder.DecodeAll(b.stored, nil); err != nil || !bytes.Equal(plain, b.plain) {
				t.Errorf("%v: %d bytes came back as %d (%v)", level, size, len(plain), err)
			}
		}
	}
}
