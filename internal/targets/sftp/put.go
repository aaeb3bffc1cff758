package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/pkg/sftp"

	"github.com/backupd/backupd/internal/targets"
)

// Put is described at targets.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader) (err error) {
	if err := targets.CheckUnreserved(key); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	p := s.newPartial()
	defer func() { err = s.wrap("put", key, errors.Join(err, p.discard(ctx))) }()
	if err := s.retry(ctx, func(c *connection) error { return s.prepare(c, key) }); err != nil {
		return err
	}
	if err := p.write(ctx, r); err != nil {
		return err
	}
	return p.publish(ctx, key)
}

// prepare makes the folder of a key, and looks whether there is something under it, before all is sent for nothing.
func (s *Store) prepare(c *connection, key string) error {
	if _, err := c.Lstat(s.path(key)); err == nil {
		return &final{fs.ErrExist}
	}
	return s.mkdir(c, path.Dir(key))
}

// mkdir makes a folder and those above it, but not the target's own: without it a disk is not mounted, as a rule.
func (s *Store) mkdir(c *connection, folder string) error {
	info, err := c.Stat(s.path(folder))
	switch {
	case err == nil && !info.IsDir():
		return &final{fmt.Errorf("%s is not a folder", s.path(folder))}
	case err == nil || !errors.Is(err, fs.ErrNotExist):
		return err
	case folder == ".":
		return &final{errors.New("the target's folder is gone: is its disk not mounted?")}
	}
	if err := s.mkdir(c, path.Dir(folder)); err != nil {
		return err
	}
	if err := c.Mkdir(s.path(folder)); err != nil {
		if info, statErr := c.Stat(s.path(folder)); statErr == nil && info.IsDir() {
			return nil // somebody else was first
		}
		return err
	}
	return nil
}

// partial is a file that is being written.
type partial struct {
	store *Store
	path  string
	size  int64 // bytes that the server has
	tried bool  // whether it may have been moved

	c *connection // that f is of
	f *sftp.File  // nil before the first write
}

func (s *Store) newPartial() *partial { return &partial{store: s, path: s.path(targets.NewPartial())} }

// chunk is how much is sent before its arrival is waited for.
const chunk = 4 << 20

// write sends all of r.
func (p *partial) write(ctx context.Context, r io.Reader) error {
	buf := make([]byte, 32<<10) // which is enough for a manifest
	for end := false; !end; {
		n, err := targets.Fill(ctx, r, buf)
		if end = err == io.EOF; err != nil && !end {
			return fmt.Errorf("read what is to be put: %w", err)
		}
		if err := p.on(ctx, func(f *sftp.File) error { _, err := f.WriteAt(buf[:n], p.size); return err }); err != nil {
			return err
		}
		p.size += int64(n)
		if len(buf) < chunk && !end {
			buf = make([]byte, chunk)
		}
	}
	return p.on(ctx, func(f *sftp.File) error { return unlessUnsupported(f.Sync()) })
}

// on does something to the file, by the connection that there is by then.
func (p *partial) on(ctx context.Context, op func(f *sftp.File) error) error {
	return p.store.retry(ctx, func(c *connection) error {
		if p.c != c {
			if err := p.store.mkdir(c, targets.Partials); err != nil {
				return err
			}
			f, err := c.OpenFile(p.path, os.O_WRONLY|os.O_CREATE)
			if err != nil {
				return err
			}
			p.c, p.f = c, f
			if err := unlessUnsupported(f.Chmod(0o600)); err != nil {
				return err
			}
		}
		return op(p.f)
	})
}

// unlessUnsupported lets a server do without what is good to have.
func unlessUnsupported(err error) error {
	status := (*sftp.StatusError)(nil)
	if errors.As(err, &status) && status.FxCode() == sftp.ErrSSHFxOpUnsupported {
		return nil
	}
	return err
}

// publish gives the file its key.
func (p *partial) publish(ctx context.Context, key string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ctx, cancel := targets.ToBeAnswered(ctx)
	defer cancel()
	to := p.store.path(key)
	err := p.store.retry(ctx, func(c *connection) error { return unlessUnsupported(c.Chmod(p.path, 0o440)) })
	if err == nil {
		err = p.store.retry(ctx, func(c *connection) error { return p.move(c, to) })
	}
	if err != nil {
		return err
	}
	if err := p.store.retry(ctx, func(c *connection) error { return syncFile(c, to) }); err != nil {
		return errors.Join(err, p.store.Delete(ctx, key)) // it cannot be trusted
	}
	return nil
}

// syncFile makes the name of a file durable with the file, which need not be opened for writing.
func syncFile(c *connection, name string) error {
	f, err := c.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return unlessUnsupported(f.Sync())
}

// move may be called again when an answer was lost, and finds out then what was done.
func (p *partial) move(c *connection, to string) error {
	again := p.tried
	p.tried = true
	mine, err := c.Lstat(p.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && again:
		return p.moved(c, to)
	case err != nil:
		return err
	case mine.Size() != p.size:
		return &final{fmt.Errorf("the server has %d bytes of the %d that it was sent", mine.Size(), p.size)}
	}
	if _, can := c.HasExtension("hardlink@openssh.com"); can {
		if err := c.Link(p.path, to); err == nil || !answered(err) {
			return err
		}
	}
	// What stands in the way is told like what the server's file system cannot do.
	switch there, err := c.Lstat(to); {
	case err == nil && again && there.Size() == mine.Size() && there.ModTime().Equal(mine.ModTime()):
		return nil // it was linked: a file has these in common with itself
	case err == nil:
		return &final{fs.ErrExist}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return p.rename(c, to)
}

func (p *partial) rename(c *connection, to string) error {
	failure := c.Rename(p.path, to)
	if failure == nil || !answered(failure) {
		return failure
	}
	if _, err := c.Lstat(to); err == nil {
		return &final{fs.ErrExist} // somebody was faster
	}
	return failure
}

// moved is for a file that is gone, since it was renamed and the answer was lost.
func (p *partial) moved(c *connection, to string) error {
	there, err := c.Lstat(to)
	if err == nil && there.Size() == p.size {
		return nil
	}
	return &final{errors.Join(errors.New("what was sent is gone"), err)}
}

// discard takes the name away under which the file was written.
func (p *partial) discard(ctx context.Context) error {
	ctx, cancel := targets.Afterwards(ctx)
	defer cancel()
	if p.f == nil {
		return nil // the server has nothing of it
	}
	err := p.store.retry(ctx, func(c *connection) error {
		if p.c == c {
			_ = p.f.Close() // its bytes were synced, or are of no interest
		}
		return remove(c, p.path)
	})
	if err != nil {
		return fmt.Errorf("remove %s, which is of no use: %w", p.path, err)
	}
	return nil
}
