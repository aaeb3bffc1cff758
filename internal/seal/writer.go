package seal

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"filippo.io/age"
)

// Writer encrypts what is written to it. It has to be closed for the last of it to come out.
type Writer struct {
	in  io.WriteCloser
	out measured
}

// Writer makes one that writes to dst, at once what only the recipients need.
func (r Recipients) Writer(dst io.Writer) (*Writer, error) {
	w := &Writer{out: measured{to: dst, sum: sha256.New()}}
	var err error
	if w.in, err = age.Encrypt(&w.out, r.keys...); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return w, nil
}

func (w *Writer) Write(p []byte) (int, error) { return w.in.Write(p) }

// Close writes the end. It does not close what the Writer writes to.
func (w *Writer) Close() error { return w.in.Close() }

// Written tells how many bytes came out, and their SHA-256.
func (w *Writer) Written() (size int64, digest [sha256.Size]byte) {
	return w.out.size, [sha256.Size]byte(w.out.sum.Sum(nil))
}

// measured counts and sums up what passes.
type measured struct {
	to   io.Writer
	size int64
	sum  hash.Hash
}

func (m *measured) Write(p []byte) (int, error) {
	n, err := m.to.Write(p)
	m.size += int64(n)
	m.sum.Write(p[:n])
	return n, err
}
