package archive

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
)

// recentBytes is how much of frames a flow holds of which it has wanted a part. The tar of an archive that leans on others goes to and fro between
// all of these, but in each of them only onwards: one frame of each is enough.
const recentBytes = 32 << 20

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

// recent is the last frame of each archive that parts were wanted of, the one wanted last first.
type recent struct {
	all  []*opened
	held int // bytes
}

// of gives the frame of a piece, and whether it was among them.
func (r *recent) of(p piece) (o *opened, known bool) {
	i := slices.IndexFunc(r.all, func(o *opened) bool { return o.origin == p.origin })
	if i >= 0 {
		o = r.all[i]
		r.all = slices.Delete(r.all, i, i+1)
	}
	if known = i >= 0 && o.frame.place == p.frame.place; !known {
		if i >= 0 {
			r.held -= o.frame.plain
		}
		o = &opened{origin: p.origin, frame: p.frame}
		r.held += o.frame.plain
	}
	r.all = slices.Insert(r.all, 0, o)
	for last := len(r.all) - 1; r.held > recentBytes; last-- {
		r.held -= r.all[last].frame.plain
		r.all = r.all[:last]
	}
	return o, known
}
