package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"golang.org/x/sys/unix"
)

// ExtractOptions says what to take out of an archive.
type ExtractOptions struct {
	// Paths are patterns that ValidateGlob takes; none takes everything. One that matches a folder takes all below it. The
	// folders above what is taken are made as the archive has them, but left alone if they exist.
	Paths []string

	// Progress is called with the bytes of file data written so far, often, and from one goroutine: it must be quick. May be nil.
	Progress func(written int64)
}

// Report is what came out of an archive.
type Report struct {
	Entries int64 // that were restored
	Bytes   int64 // of file data

	// Skipped are the first 1000 things that could not be restored, for want of privilege or because the file system
	// does not have the like; SkippedTotal is how many there were.
	Skipped      []Skipped
	SkippedTotal int64
}

// Skipped is something that could not be restored.
type Skipped struct {
	Path string
	What string // and why
}

func (r *Report) skip(path, what string, why error) {
	const most = 1000
	if r.SkippedTotal++; len(r.Skipped) < most {
		r.Skipped = append(r.Skipped, Skipped{path, fmt.Sprintf("%s: %v", what, why)})
	}
}

// Extract restores an archive into dir, which is a folder and no symlink to one, and becomes the archive's root, with its mode, owner and times. Whatever is there
// stays, but for what an entry of the same path replaces; of a path that the archive has twice, the later wins.
//
// Nothing outside dir is touched, whatever names and links say, as long as nobody else moves folders about in dir meanwhile: each
// component of a path is opened by itself, and never a symlink. An archive that is damaged or cut off is an error, wherever the
// damage is, after what stood before it has been restored. Nothing is synced to disk.
//
// A Read of r in progress is waited for, also when ctx ends.
func Extract(ctx context.Context, r io.Reader, dir string, o ExtractOptions) (Report, error) {
	chosen, err := parseGlobs(o.Paths)
	if err != nil {
		return Report{}, fmt.Errorf("extract: %w", err)
	}
	x := extractor{chosen: chosen, tell: o.Progress}
	if x.tree, err = openTree(dir, &x.report); err != nil {
		return Report{}, fmt.Errorf("extract: %w", err)
	}
	err = unpack(ctx, r, func(ctx context.Context, t *tarReader) error {
		return members(ctx, t, func(m *member) error { return x.member(ctx, t, m) })
	})
	// Folders that were begun are finished also after an error.
	if closing := x.tree.close(); err == nil {
		err = closing
	}
	if err != nil {
		return x.report, fmt.Errorf("extract into %s: %w", dir, err)
	}
	return x.report, nil
}

// extractor restores members into a tree.
type extractor struct {
	tree   *tree
	chosen globs
	tell   func(written int64)
	report Report
}

func (x *extractor) member(ctx context.Context, t *tarReader, m *member) error {
	err := x.restore(ctx, t, m)
	if err != nil {
		return fmt.Errorf("restore %q: %w", m.Path, err)
	}
	return nil
}

func (x *extractor) restore(ctx context.Context, t *tarReader, m *member) error {
	taken := x.chosen.cover(m.Path)
	if m.Kind == Folder {
		if taken {
			x.report.Entries++
		}
		return x.tree.folder(m, taken)
	}
	if !taken {
		return nil
	}
	dir, err := x.tree.folderOf(m.Path)
	if err != nil {
		return err
	}
	n := node{dir: dir, name: path.Base(m.Path), fd: -1}
	switch m.Kind {
	case File:
		err = x.file(ctx, t, n, m)
	case Hardlink:
		err = x.hardlink(n, m)
	default:
		err = x.special(n, m)
	}
	if skip, ok := errors.AsType[*skipError](err); ok {
		x.report.skip(m.Path, skip.what, skip.why)
		return nil
	}
	if err == nil {
		x.report.Entries++
	}
	return err
}

// skipError is why an entry is not there, which is to be reported and nothing more.
type skipError struct {
	what string
	why  error
}

func (e *skipError) Error() string { return fmt.Sprintf("%s: %v", e.what, e.why) }

func (x *extractor) file(ctx context.Context, t *tarReader, n node, m *member) (err error) {
	err = x.tree.replacing(m.Path, n, func() error {
		n.fd, err = openAt(n.dir, n.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
		return err
	})
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	// A full disk may show itself no earlier than here.
	defer func() {
		if closing := unix.Close(n.fd); err == nil && closing != nil {
			err = fmt.Errorf("close: %w", closing)
		}
	}()
	if m.sparse {
		err = x.sparse(ctx, t, n.fd, m)
	} else {
		err = x.contents(ctx, t, n.fd, segment{0, m.Size})
	}
	if err != nil {
		return err
	}
	return n.restore(m, &x.report)
}

// sparse writes a file that is all hole at first, by segments.
func (x *extractor) sparse(ctx context.Context, t *tarReader, fd int, m *member) error {
	all, err := t.sparse(m)
	if err != nil {
		return err
	}
	if err := unix.Ftruncate(fd, m.Size); err != nil {
		return fmt.Errorf("make it of %d bytes: %w", m.Size, err)
	}
	for _, s := range all {
		if err := x.contents(ctx, t, fd, s); err != nil {
			return err
		}
	}
	return nil
}

// contents writes a piece of a file.
func (x *extractor) contents(ctx context.Context, t *tarReader, fd int, s segment) error {
	for s.size > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		data, err := t.data(s.size)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if err := writeFullAt(fd, data, s.at); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		s.at, s.size = s.at+int64(len(data)), s.size-int64(len(data))
		x.report.Bytes += int64(len(data))
		if x.tell != nil {
			x.tell(x.report.Bytes)
		}
	}
	return nil
}

func (x *extractor) hardlink(n node, m *member) error {
	what := fmt.Sprintf("hard link to %q", m.Linkname)
	if m.Linkname == m.Path {
		return fmt.Errorf("%s: itself", what)
	}
	dir, err := x.tree.open(path.Dir(m.Linkname))
	if err == nil {
		defer closeFD(dir)
		err = x.tree.replacing(m.Path, n, func() error {
			return unix.Linkat(dir, path.Base(m.Linkname), n.dir, n.name, 0)
		})
	}
	// The target may have been skipped itself, or not be among the paths that were asked for.
	if err == unix.ENOENT || denied(err) {
		return &skipError{what, err}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// special makes a symlink, a device or a pipe.
func (x *extractor) special(n node, m *member) error {
	err := x.tree.replacing(m.Path, n, func() error { return n.make(m) })
	if denied(err) {
		return &skipError{m.Kind.String(), err}
	}
	if err != nil {
		return fmt.Errorf("create %v: %w", m.Kind, err)
	}
	return n.restore(m, &x.report)
}
