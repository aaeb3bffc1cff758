package webdav

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"sync"

	"github.com/backupd/backupd/internal/targets"
)

// Put is described at targets.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader) (err error) {
	if err := targets.CheckUnreserved(key); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	if err := s.prepare(ctx, key); err != nil {
		return s.wrap("put", key, err)
	}
	partial := targets.NewPartial()
	size, err := s.send(ctx, partial, r)
	if err == nil {
		err = s.publish(ctx, partial, key, size)
	}
	if err != nil {
		err = errors.Join(err, s.discard(ctx, partial))
	}
	return s.wrap("put", key, err)
}

// prepare makes the folder of a key, and looks whether there is something under it, before all is sent for nothing.
func (s *Store) prepare(ctx context.Context, key string) error {
	switch _, err := s.stat(ctx, key); {
	case err == nil:
		return fs.ErrExist
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return s.mkdir(ctx, path.Dir(key))
}

// mkdir makes a folder and those above it, but not the target's own: without it a disk is not mounted, as a rule.
func (s *Store) mkdir(ctx context.Context, folder string) error {
	if folder == "." {
		return s.absent(ctx)
	}
	err := s.mkcol(ctx, folder)
	if !refusedWith(err, http.StatusConflict) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.mkdir(ctx, path.Dir(folder)); err != nil {
		return err
	}
	return s.mkcol(ctx, folder)
}

func (s *Store) mkcol(ctx context.Context, folder string) error {
	err := s.call(ctx, "MKCOL", s.at.folderURL(folder), nil)
	if refusedWith(err, http.StatusMethodNotAllowed) {
		return nil // it is there
	}
	return err
}

// small is how much is kept in memory to be sent again.
const small = 1 << 20

// send stores all of r under the name of a partial, and makes sure that the server has as much.
func (s *Store) send(ctx context.Context, partial string, r io.Reader) (size int64, err error) {
	if err := s.mkdir(ctx, targets.Partials); err != nil {
		return 0, err
	}
	buf := make([]byte, small)
	n, err := targets.Fill(ctx, r, buf)
	switch {
	case err == io.EOF:
		size = int64(n)
		err = s.retry(ctx, func() error { return s.upload(ctx, partial, bytes.NewReader(buf[:n])) })
	case err == nil:
		size, err = s.stream(ctx, partial, io.MultiReader(bytes.NewReader(buf), r))
	default:
		err = fmt.Errorf("read what is to be put: %w", err)
	}
	if err != nil {
		return 0, err
	}
	there, err := s.stat(ctx, partial)
	if err == nil && there.size != size {
		err = fmt.Errorf("the server has %d bytes of the %d that it was sent", there.size, size)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("the server says that it has stored what it was sent, and has not")
	}
	return size, err
}

func (s *Store) upload(ctx context.Context, partial string, body io.Reader) error {
	resp, err := s.do(ctx, http.MethodPut, s.at.url(partial), map[string]string{"Content-Type": "application/octet-stream"}, body)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (s *Store) stream(ctx context.Context, partial string, r io.Reader) (size int64, err error) {
	b := &body{ctx: ctx, r: r}
	err = s.upload(ctx, partial, b)
	size, failure := b.end()
	if failure != nil {
		return 0, failure // which is why the request failed
	}
	return size, err
}

// body is what is to be put. The client may read on in the background when it has failed, but not once end was called.
type body struct {
	ctx context.Context
	mu  sync.Mutex
	r   io.Reader
	n   int64
	err error // of r or ctx, or that it has ended
}

var errEnded = errors.New("nobody reads it any more")

func (b *body) Read(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil && b.ctx.Err() != nil {
		b.err = context.Cause(b.ctx)
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err = b.r.Read(p)
	b.n += int64(n)
	if err != nil && err != io.EOF {
		b.err = fmt.Errorf("read what is to be put: %w", err)
		err = b.err
	}
	return n, err
}

func (b *body) end() (n int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	err, b.err = b.err, errEnded
	return b.n, err
}

// publish moves what was sent to its key, unless there is something.
func (s *Store) publish(ctx context.Context, partial, key string, size int64) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	answered, cancel := targets.ToBeAnswered(ctx)
	defer cancel()
	failure := s.call(answered, "MOVE", s.at.url(partial), map[string]string{"Destination": s.at.url(key).String(), "Overwrite": "F"})
	ctx, cancel = targets.Afterwards(ctx)
	defer cancel()
	return s.settle(ctx, partial, key, size, failure)
}

// settle finds out what a move has done, also where its answer was lost and it was tried again.
func (s *Store) settle(ctx context.Context, partial, key string, size int64, failure error) error {
	_, err := s.stat(ctx, partial)
	gone := errors.Is(err, fs.ErrNotExist)
	if err != nil && !gone {
		return errors.Join(failure, err)
	}
	there, err := s.stat(ctx, key)
	switch {
	case gone && err == nil && there.size == size:
		return nil
	case !gone && refusedWith(failure, http.StatusPreconditionFailed):
		return fs.ErrExist
	case failure != nil:
		return failure
	case err == nil || errors.Is(err, fs.ErrNotExist):
		return errors.New("the server says that it has moved what it was sent, and has not")
	}
	return err
}

// discard removes what was sent, if it is there.
func (s *Store) discard(ctx context.Context, partial string) error {
	ctx, cancel := targets.Afterwards(ctx)
	defer cancel()
	if err := s.remove(ctx, partial); err != nil {
		return fmt.Errorf("remove %s, which is of no use: %w", s.at.of(partial), err)
	}
	return nil
}
