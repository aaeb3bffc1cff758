package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/pkg/sftp"

	"github.com/backupd/backupd/internal/targets"
)

// Get is described at targets.Store.
func (s *Store) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := targets.CheckUnreserved(key); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	if off < 0 {
		return nil, fmt.Errorf("get %s: offset %d: %w", key, off, fs.ErrInvalid)
	}
	r := &reader{store: s, ctx: ctx, key: key, off: off}
	if err := s.retry(ctx, r.open); err != nil {
		return nil, s.wrap("get", key, err)
	}
	r.end = targets.End(r.of.Size(), off, n)
	r.buf = make([]byte, 0, min(chunk, r.end-off))
	return r, nil
}

// reader reads an object from off to end. It keeps ctx for its calls.
type reader struct {
	store    *Store
	ctx      context.Context
	key      string
	off, end int64       // of what is to be asked for
	of       os.FileInfo // nil before it was opened
	ahead    []byte      // was read and not given yet
	buf      []byte

	c *connection // that f is of
	f *sftp.File
}

// open opens the object, which has to be the same as before.
func (r *reader) open(c *connection) error {
	name := r.store.path(r.key)
	// Opening a pipe that somebody planted would wait for ever.
	info, err := c.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return r.store.absent(c)
	}
	if err != nil {
		return err
	}
	switch {
	case !info.Mode().IsRegular():
		return &final{fs.ErrNotExist}
	case r.of != nil && (info.Size() != r.of.Size() || !info.ModTime().Equal(r.of.ModTime())):
		return &final{errors.New("it was changed while it was read")}
	}
	f, err := c.Open(name)
	if err != nil {
		return err
	}
	r.c, r.f, r.of = c, f, info
	return nil
}

// absent is fs.ErrNotExist, unless the whole target is not there.
func (s *Store) absent(c *connection) error {
	_, err := c.Stat(s.path(""))
	switch {
	case err == nil:
		return &final{fs.ErrNotExist}
	case errors.Is(err, fs.ErrNotExist):
		return &final{errors.New("the target's folder is gone: is its disk not mounted?")}
	}
	return err
}

func (r *reader) Read(p []byte) (int, error) {
	if len(r.ahead) == 0 && r.off == r.end {
		return 0, io.EOF
	}
	if len(r.ahead) == 0 {
		if err := r.store.retry(r.ctx, r.more); err != nil {
			return 0, r.store.wrap("read", r.key, err)
		}
	}
	n := copy(p, r.ahead)
	r.ahead = r.ahead[n:]
	return n, nil
}

// more asks for as much as there is room for.
func (r *reader) more(c *connection) error {
	if r.c != c {
		if err := r.open(c); err != nil {
			return err
		}
	}
	want := r.buf[:min(int64(cap(r.buf)), r.end-r.off)]
	n, err := r.f.ReadAt(want, r.off)
	if n == len(want) {
		r.ahead = want
		r.off += int64(n)
		return nil
	}
	if err == io.EOF {
		return &final{fmt.Errorf("%w: it ends %d bytes too early", io.ErrUnexpectedEOF, r.end-r.off-int64(n))}
	}
	return err
}

func (r *reader) Close() error {
	if r.c.alive() {
		_ = r.f.Close() // nothing was written by it
	}
	return nil
}
