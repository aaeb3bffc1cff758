package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/backupd/backupd/internal/targets"
)

// Put is described at targets.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader) (err error) {
	o, err := s.begin(key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	if err := fill(ctx, &o.to, r); err != nil {
		return o.failed(err)
	}
	return o.Commit(ctx)
}

// Draft is described at targets.Drafter. A file system on which files cannot be without a name (NFS, SMB, FAT) is taken for slower than
// a disk of this host.
func (s *Store) Draft(ctx context.Context, key string) (targets.Draft, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	o, err := s.begin(key)
	if err != nil {
		return nil, err
	}
	if o.draft.named() {
		if err := o.Close(); err != nil {
			return nil, err
		}
		return nil, o.failed(errors.ErrUnsupported)
	}
	return o, nil
}

// object is a targets.Draft.
type object struct {
	to    writer
	draft *draft
	root  *os.Root
	key   string
	store *Store
}

func (s *Store) begin(key string) (*object, error) {
	o := &object{key: key, store: s}
	if err := o.open(); err != nil {
		return nil, o.failed(err)
	}
	return o, nil
}

func (o *object) open() (err error) {
	if err := check(o.key); err != nil {
		return err
	}
	if o.root, err = o.store.root(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.root.Close())
		}
	}()
	if _, err := o.root.Lstat(o.key); err == nil {
		return fs.ErrExist // known before all was written for nothing
	}
	if err := o.root.MkdirAll(path.Dir(o.key), 0o750); err != nil {
		return err
	}
	if o.draft, err = o.store.draft(o.root, path.Dir(o.key)); err != nil {
		return err
	}
	o.draft.sweep()
	o.to.f = o.draft.File
	return nil
}

func (o *object) failed(err error) error {
	return fmt.Errorf("put %s in %s: %w", o.key, o.store.dir, err)
}

// Write adds to the object.
func (o *object) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	if err != nil {
		err = o.failed(err)
	}
	return n, err
}

// ReadAt reads what has been written, as io.ReaderAt says.
func (o *object) ReadAt(p []byte, off int64) (int, error) { return o.to.ReadAt(p, off) }

// Commit is described at targets.Draft.
func (o *object) Commit(ctx context.Context) error {
	if ctx.Err() != nil {
		return o.failed(context.Cause(ctx))
	}
	// Before the object: a folder may be there already and yet not be durable, when its maker crashed or is not that far.
	err := syncAbove(o.root, path.Dir(o.key))
	if err == nil {
		err = o.draft.publish(path.Base(o.key))
	}
	if err != nil {
		return o.failed(err)
	}
	return nil
}

// Close is described at targets.Draft.
func (o *object) Close() error {
	if err := errors.Join(o.draft.discard(), o.root.Close()); err != nil {
		return o.failed(err)
	}
	return nil
}

// syncAbove makes the name of a folder durable, and those of the folders above it.
func syncAbove(root *os.Root, folder string) error {
	for folder != "." {
		folder = path.Dir(folder)
		dir, err := openDir(root, folder)
		if err != nil {
			return err
		}
		if err := errors.Join(syncDir(dir), dir.Close()); err != nil {
			return err
		}
	}
	return nil
}

// fill writes all of r.
func fill(ctx context.Context, w io.Writer, r io.Reader) error {
	buf := make([]byte, 1<<20)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := r.Read(buf)
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
