package seal

import "io"

// window is what is stored, for a single reader that goes from one piece to the next.
type window struct {
	object *Object
	open   func(off, n int64) (io.ReadCloser, error)
	end    int64 // of what is asked of the source

	from io.ReadCloser // nil until it is needed
	at   int64         // where it is
	err  error         // why it could not be read
}

func (w *window) ReadAt(p []byte, off int64) (int, error) {
	if w.from == nil || off != w.at || off == w.end {
		if n, ok := w.known(p, off); ok {
			if n < len(p) {
				return n, io.EOF
			}
			return n, nil
		}
		if err := w.seek(off); err != nil {
			w.err = err
			return 0, err
		}
	}
	n, err := io.ReadFull(w.from, p)
	w.at += int64(n)
	if err != nil {
		w.err = err
	}
	return n, err
}

// known reads what was fetched already.
func (w *window) known(p []byte, off int64) (int, bool) {
	o := w.object
	if end := min(off+int64(len(p)), o.size); end <= int64(len(o.head)) {
		return copy(p, o.head[min(off, end):end]), true
	}
	if at := off - (o.size - int64(len(o.tail))); at >= 0 {
		return copy(p, o.tail[min(at, int64(len(o.tail))):]), true
	}
	return 0, false
}

func (w *window) seek(off int64) (err error) {
	if err := w.Close(); err != nil {
		return err
	}
	w.from, err = w.open(off, w.end-off)
	w.at = off
	return err
}

func (w *window) Close() error {
	if w.from == nil {
		return nil
	}
	from := w.from
	w.from = nil
	return from.Close()
}

// reader reads one piece after the other.
type reader struct {
	plain   io.ReaderAt
	from    *window
	at, end int64
	buffer  []byte
	rest    []byte // of the buffer
}

func (r *reader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.at >= r.end {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *reader) next() error {
	n := min(pieceSize-r.at%pieceSize, r.end-r.at)
	piece := r.buffer[:n]
	if _, err := r.plain.ReadAt(piece, r.at); err != nil && err != io.EOF {
		switch {
		case r.from.err == io.ErrUnexpectedEOF || r.from.err == io.EOF:
			return io.EOF // of an object that has become shorter
		case r.from.err != nil:
			return r.from.err
		}
		clear(piece)
	}
	r.at += n
	r.rest = piece
	return nil
}

func (r *reader) Close() error { return r.from.Close() }
