package spool

import (
	"cmp"
	"io"
)

// Draft is a file that is to become the stream, and that can be read meanwhile. To close it takes it away, unless its maker has seen to
// that it stays.
type Draft interface {
	io.Writer
	io.ReaderAt
	io.Closer
}

// Through makes all that is written go into a draft, which the spool closes once nobody needs it. It comes before the first Write.
func (s *Spool) Through(d Draft) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draft = d
}

// drafting tells whether what is written goes into the draft.
func (s *Spool) drafting() bool { return s.draft != nil && s.lacking == nil }

// Drafted waits for the end of the stream, and is nil when the draft has all of it. That it will not have all is told at once.
func (s *Spool) Drafted() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.ended && s.lacking == nil {
		s.changed.Wait()
	}
	return cmp.Or(s.lacking, s.err)
}

// letGo closes a draft that lacks something once all that it has was read: it takes room, of which there may be none left.
func (s *Spool) letGo() {
	if s.lacking == nil || s.draft == nil {
		return
	}
	if slowest := s.slowest(); slowest == nil || slowest.need() >= s.base {
		s.closing, s.draft = s.draft.Close(), nil
	}
}
