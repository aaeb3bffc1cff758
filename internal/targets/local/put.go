package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Put is described at targets.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader) error {
	if err := s.put(ctx, key, r); err != nil {
		return fmt.Errorf("put %s in %s: %w", key, s.dir, err)
	}
	return nil
}

func (s *Store) put(ctx context.Context, key string, r io.Reader) (err error) {
	if err := check(key); err != nil {
		return err
	}
	root, err := s.root()
	if err != nil {
		return err
	}
	defer root.Close()
	if _, err := root.Lstat(key); err == nil {
		return fs.ErrExist // known before all of r was written for nothing
	}
	folder, name := path.Split(key)
	folder = path.Clean(folder)
	if err := root.MkdirAll(folder, 0o750); err != nil {
		return err
	}
	d, err := s.draft(root, folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.discard()) }()
	d.sweep()
	if err := fill(ctx, d.File, r); err != nil {
		return err
	}
	// Before the object: a folder may be there already and yet not be durable, when its maker crashed or is not that far.
	if err := syncAbove(root, folder); err != nil {
		return err
	}
	return d.publish(name)
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

// fill writes all of r to an empty file.
func fill(ctx context.Context, f *os.File, r io.Reader) error {
	w := &writer{f: f}
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

const (
	window = 8 << 20  // bytes that are sent to the disk at a time
	lag    = 64 << 20 // bytes that the disk may be behind
)

// writer sends what it writes on to the disk as it goes, so that the final fsync is not one big stall, and drops it from the page cache
// once the disk has it: an archive is not read soon, and should not push out what a database needs. It never waits for the disk, since
// somebody's containers may hold still meanwhile.
type writer struct {
	f                  *os.File
	off, sent, dropped int64
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.off += int64(n)
	if w.off-w.sent >= window {
		w.send()
	}
	return n, err
}

// send is advice: errors of the disk are told by the final fsync, and what is not on the disk yet is not dropped.
func (w *writer) send() {
	fd := int(w.f.Fd())
	_ = unix.SyncFileRange(fd, w.sent, w.off-w.sent, unix.SYNC_FILE_RANGE_WRITE)
	w.sent = w.off
	if until := w.sent - lag; until > w.dropped {
		_ = unix.Fadvise(fd, w.dropped, until-w.dropped, unix.FADV_DONTNEED)
		w.dropped = until
	}
}
