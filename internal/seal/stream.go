package seal

import (
	"bytes"
	"errors"
	"io"

	"filippo.io/age"
)

// Stream opens something encrypted that is read from its beginning to its end, which is proven. Beyond damage there is nothing. The error, of
// a Read too, is ErrLocked for want of a key, ErrDamaged, or the source's.
func Stream(from io.Reader, keys *Keys) (io.Reader, error) {
	source := &noted{from: from}
	opened := &stream{source: source}
	var header bytes.Buffer
	text, err := age.ExtractHeader(io.TeeReader(source, &header))
	if err != nil {
		return nil, opened.blame(err)
	}
	key, err := keys.unlock(text)
	if err != nil {
		return nil, err
	}
	opened.plain, err = age.Decrypt(io.MultiReader(&header, source), key)
	return opened, opened.blame(err)
}

type stream struct {
	source *noted
	plain  io.Reader
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.plain.Read(p)
	return n, s.blame(err)
}

// blame tells a source that cannot be read from what it gives.
func (s *stream) blame(err error) error {
	switch {
	case err == nil || err == io.EOF:
		return err
	case s.source.err != nil:
		return s.source.err
	case errors.Is(err, ErrLocked):
		return err
	}
	return damaged("%w", err)
}

// noted remembers why it could not be read.
type noted struct {
	from io.Reader
	err  error
}

func (n *noted) Read(p []byte) (int, error) {
	got, err := n.from.Read(p)
	if err != nil && err != io.EOF {
		n.err = err
	}
	return got, err
}
