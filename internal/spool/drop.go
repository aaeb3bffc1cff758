package spool

import (
	"slices"
	"time"
)

// expect has a reader dropped that takes nothing for too long.
func (s *Spool) expect(r *Reader) {
	if s.Patience != nil && r.patience == nil && s.wanted(r) {
		r.patience = time.AfterFunc(s.Patience(), r.drop)
	}
}

// wanted tells whether anybody besides this reader wants the stream.
func (s *Spool) wanted(besides *Reader) bool {
	return slices.ContainsFunc(s.readers, func(r *Reader) bool { return r != besides && !r.closed })
}

// rest ends what is expected of a reader.
func (r *Reader) rest() {
	if r.patience != nil {
		r.patience.Stop()
		r.patience = nil
	}
}

// drop closes a reader that the writer still waits for, so that the others get what is yet to be written.
func (r *Reader) drop() {
	dropped := false
	r.moved(func() {
		dropped = !r.spool.ended && r.awaited() && r.spool.wanted(r)
		r.closed = r.closed || dropped
	})
	if dropped {
		r.spool.Dropped(r.name)
	}
}
