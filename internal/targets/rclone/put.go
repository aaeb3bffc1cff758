package rclone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/backupd/backupd/internal/targets"
)

// Put is described at targets.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader) error {
	if err := targets.CheckUnreserved(key); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	partial := targets.NewPartial()
	size, err := s.send(ctx, partial, r)
	if err == nil {
		err = s.publish(ctx, partial, key, size)
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", s.at.of(key), errors.Join(err, s.discard(ctx, partial)))
	}
	return nil
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

// send gives all of r to rclone, which makes sure that as much arrives. What it is given may end only when r does: to rclone, any end is
// that of the object.
func (s *Store) send(ctx context.Context, partial string, r io.Reader) (size int64, err error) {
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := s.command(running, "rcat", s.at.of(partial))
	in, err := p.StdinPipe()
	if err != nil {
		return 0, err
	}
	if err := p.Start(); err != nil {
		return 0, err
	}
	from := &reader{ctx: ctx, r: r}
	_, err = io.Copy(in, from)
	switch {
	case from.err != nil:
		cancel(from.err)
	case err == nil:
		err = in.Close()
	}
	// That rclone does not read on is less to know than why.
	if failure := p.wait(); failure != nil {
		return 0, failure
	}
	return from.n, errors.Join(from.err, err)
}

// reader is what is to be put, as long as ctx lasts.
type reader struct {
	ctx context.Context
	r   io.Reader
	n   int64 // bytes that were read
	err error // of r or ctx
}

func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		r.err = context.Cause(r.ctx)
		return 0, r.err
	}
	n, err := r.r.Read(p)
	r.n += int64(n)
	if err != nil && err != io.EOF {
		r.err = fmt.Errorf("read what is to be put: %w", err)
		return n, r.err
	}
	return n, err
}

// publish moves what was sent to its key, unless there is something.
func (s *Store) publish(ctx context.Context, partial, key string, size int64) error {
	defer s.putting.lock(key)()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	answered, cancel := targets.ToBeAnswered(ctx)
	defer cancel()
	failure := s.run(answered, "moveto", "--ignore-existing", s.at.of(partial), s.at.of(key))
	ctx, cancel = targets.Afterwards(ctx)
	defer cancel()
	return s.settle(ctx, partial, key, size, failure)
}

// settle finds out what a move has done: rclone says nothing of a file that it leaves where it is, and may fail once it has moved one.
func (s *Store) settle(ctx context.Context, partial, key string, size int64, failure error) error {
	_, err := s.stat(ctx, partial)
	gone := errors.Is(err, fs.ErrNotExist)
	if err != nil && !gone {
		return errors.Join(failure, err)
	}
	if gone && failure == nil {
		return nil
	}
	there, err := s.stat(ctx, key)
	switch {
	case gone && err == nil && there.Size == size:
		return nil
	case failure != nil:
		return failure
	case err == nil:
		return fs.ErrExist
	}
	return errors.New("rclone has not moved what was sent, and does not say why")
}
