package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/targets"
)

// Get is described at targets.Store.
func (s *Store) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	r, err := s.get(ctx, key, off, n)
	if err != nil {
		return nil, fmt.Errorf("get %s from %s: %w", key, s.dir, err)
	}
	return r, nil
}

func (s *Store) get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if off < 0 {
		return nil, fmt.Errorf("offset %d: %w", off, fs.ErrInvalid)
	}
	if err := check(key); err != nil {
		return nil, err
	}
	root, err := s.root()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	// Without O_NONBLOCK, opening a pipe that somebody planted would wait for ever.
	f, err := root.OpenFile(key, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if absent(err) {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if n < 0 {
		n = math.MaxInt64
	}
	n = min(n, max(0, info.Size()-off))
	return &reader{f: f, r: io.NewSectionReader(f, off, n), left: n}, nil
}

// reader takes an end for one only when it comes where the file ended as it was opened.
type reader struct {
	f    *os.File
	r    io.Reader
	left int64
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.left -= int64(n)
	if err == io.EOF && r.left > 0 {
		err = fmt.Errorf("read %s: %w", r.f.Name(), io.ErrUnexpectedEOF)
	}
	return n, err
}

func (r *reader) Close() error { return r.f.Close() }

// List is described at targets.Store. Files that others put into the folder are listed too when their names make a key; links,
// pipes and the like are not.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[targets.Object, error] {
	return func(yield func(targets.Object, error) bool) {
		if err := s.list(ctx, prefix, yield); err != nil && !errors.Is(err, errStop) {
			yield(targets.Object{}, fmt.Errorf("list %s in %s: %w", prefix, s.dir, err))
		}
	}
}

// errStop says that the caller has seen enough.
var errStop = errors.New("stop")

func (s *Store) list(ctx context.Context, prefix string, yield func(targets.Object, error) bool) error {
	if err := targets.CheckPrefix(prefix); err != nil {
		return err
	}
	root, err := s.root()
	if err != nil {
		return err
	}
	defer root.Close()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	name := path.Clean(prefix)
	info, err := root.Stat(name)
	if absent(err) || err == nil && !info.IsDir() {
		return nil
	}
	if err != nil {
		return err
	}
	folder, err := root.OpenRoot(name)
	if err != nil {
		return err
	}
	defer folder.Close()
	return walk(ctx, folder, prefix, yield)
}

// walk holds the objects of one folder in memory, and of those that lead to it.
func walk(ctx context.Context, folder *os.Root, prefix string, yield func(targets.Object, error) bool) error {
	objects, err := entries(folder, prefix)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if strings.HasSuffix(o.Key, "/") {
			if err := descend(ctx, folder, o.Key, yield); err != nil {
				return err
			}
		} else if !yield(o, nil) {
			return errStop
		}
	}
	return nil
}

func descend(ctx context.Context, folder *os.Root, prefix string, yield func(targets.Object, error) bool) error {
	sub, err := folder.OpenRoot(path.Base(prefix))
	if absent(err) {
		return nil // gone in the meantime
	}
	if prefix == "lost+found/" && errors.Is(err, fs.ErrPermission) {
		return nil // fsck's and root's, where the target is a disk of its own
	}
	if err != nil {
		return err
	}
	defer sub.Close()
	return walk(ctx, sub, prefix, yield)
}

// entries gives what is in a folder and has a key, sorted. Folders are there too, as keys with "/" after them: so they sort as
// what is in them does ("a.b" before "a/b").
func entries(folder *os.Root, prefix string) ([]targets.Object, error) {
	dir, err := folder.Open(".")
	if err != nil {
		return nil, err
	}
	var found []targets.Object
	for err == nil {
		var some []fs.DirEntry
		some, err = dir.ReadDir(1000)
		for _, e := range some {
			info, infoErr := e.Info()
			switch {
			case absent(infoErr) || check(e.Name()) != nil: // gone in the meantime, or of no concern
			case infoErr != nil:
				err = infoErr
			case info.IsDir():
				found = append(found, targets.Object{Key: prefix + e.Name() + "/"})
			case info.Mode().IsRegular():
				found = append(found, targets.Object{Key: prefix + e.Name(), Size: info.Size(), Modified: info.ModTime()})
			}
		}
	}
	if err == io.EOF {
		err = nil
	}
	slices.SortFunc(found, func(a, b targets.Object) int { return strings.Compare(a.Key, b.Key) })
	return found, errors.Join(err, dir.Close())
}
