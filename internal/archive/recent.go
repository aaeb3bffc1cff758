package archive

import (
	"crypto/sha256"
	"fmt"
	"sync"
)

// recentFrames is how many frames a flow holds of which it has wanted a part. The tar of an archive that leans on others goes to and fro between
// frames of all of these.
const recentFrames = 12

// opened is a frame of which parts are wanted, at several places of the tar perhaps. It is fetched and decompressed once.
type opened struct {
	origin *origin
	frame  frame

	stored []byte // until it is decompressed
	once   sync.Once
	plain  []byte
	err    error
}

// plainOf gives the frame's contents.
func (o *opened) plainOf(r *Reader) ([]byte, error) {
	o.once.Do(func() {
		o.plain, o.err = r.openFrame(&o.frame, o.stored, make([]byte, 0, o.frame.plain))
		o.stored = nil
	})
	return o.plain, o.err
}

// openFrame checks a stored frame, and appends its contents to dst, which has room for that.
func (r *Reader) openFrame(f *frame, stored, dst []byte) ([]byte, error) {
	if sha256.Sum256(stored) != f.digest {
		return dst, fmt.Errorf("read frame at %d: %w", f.place, errDigest)
	}
	plain, err := r.decoder.DecodeAll(stored, dst)
	if err != nil {
		return dst, fmt.Errorf("decompress frame at %d: %w", f.place, err)
	}
	if len(plain) != f.plain {
		return dst, fmt.Errorf("decompress frame at %d: %d bytes, not %d", f.place, len(plain), f.plain)
	}
	return plain, nil
}

// recent is the frames that parts were wanted of last, the last one first.
type recent []*opened

// of gives the frame of a piece, and whether it was among them.
func (r *recent) of(p piece) (o *opened, known bool) {
	all := *r
	for i, o := range all {
		if o.origin == p.origin && o.frame.place == p.frame.place {
			copy(all[1:i+1], all[:i])
			all[0] = o
			return o, true
		}
	}
	o = &opened{origin: p.origin, frame: p.frame}
	if len(all) < recentFrames {
		all = append(all, nil)
	}
	copy(all[1:], all)
	all[0] = o
	*r = all
	return o, false
}
