package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// ExtractOptions says what to take out of an archive.
type ExtractOptions struct {
	// Paths are patterns that ValidateGlob takes; none takes everything. One that matches a folder takes all below it. The
	// folders above what is taken are made as the archive has them, but left alone if they exist.
	Paths []string

	// Directory is the SHA-256 of the directory that the archive must have, as in the Summary of Create; zero lets it be any archive.
	// A Reader has its own.
	Directory [32]byte

	// KeepGoing restores what can be read of a damaged archive, reports what is hit, and gives ErrDamaged after that. Of a file
	// whose contents are hit, zeros are in the place of those.
	KeepGoing bool

	// Progress is called with the bytes of file data written so far, often, and from one goroutine: it must be quick. May be nil.
	Progress func(written int64)
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
	x, err := newExtractor(dir, chosen, o)
	if err != nil {
		return Report{}, fmt.Errorf("extract: %w", err)
	}
	err = unpack(ctx, r, proof{o.Directory, o.KeepGoing}, func(ctx context.Context, t *tarReader) error {
		if o.KeepGoing {
			return newSalvage(x, t).stream(ctx)
		}
		return members(ctx, t, func(m *member) error { return x.member(ctx, t, m) })
	})
	return x.close(dir, err)
}

// extractor restores members into a tree.
type extractor struct {
	tree   *tree
	crew   *crew
	chosen globs
	tell   func(written int64)
	report reporter
	quiet  quietWriter
	last   member // the one before
}

func newExtractor(dir string, chosen globs, o ExtractOptions) (*extractor, error) {
	x := &extractor{chosen: chosen, tell: o.Progress, last: member{Entry: Entry{Path: ".", Kind: Folder}}}
	var err error
	if x.tree, err = openTree(dir, &x.report); err != nil {
		return nil, err
	}
	x.crew = newCrew(workersOr(0), &x.report)
	x.tree.settle = x.crew.settle
	return x, nil
}

// close ends an extraction that came to an error or not. Folders that were begun are finished in any case.
func (x *extractor) close(dir string, err error) (Report, error) {
	// The crew's errors are of what came before.
	err = cmp.Or(x.crew.close(), err)
	err = cmp.Or(err, x.tree.close())
	if err == nil && x.report.DamagedTotal > 0 {
		err = fmt.Errorf("%w: %d entries are hit", ErrDamaged, x.report.DamagedTotal)
	}
	if err != nil {
		err = fmt.Errorf("extract into %s: %w", dir, err)
	}
	return x.report.report(), err
}

func (x *extractor) member(ctx context.Context, t *tarReader, m *member) error {
	if err := x.inOrder(m); err != nil {
		return err
	}
	if err := x.restore(ctx, t, m); err != nil {
		return fmt.Errorf("restore %q: %w", m.Path, err)
	}
	return nil
}

// inOrder waits for the crew where a member must not overtake what comes before it. Members that stand in a walk's order have nothing to do
// with each other, but for those below a path that is no folder, and hard links with their targets.
func (x *extractor) inOrder(m *member) error {
	last := x.last.Entry
	x.last.Entry = m.Entry
	below := last.Kind != Folder && strings.HasPrefix(m.Path, last.Path+"/")
	if m.Kind == Hardlink || below || ComparePaths(last.Path, m.Path) >= 0 {
		return x.crew.settle()
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
	in, err := x.tree.folderOf(m.Path)
	if err != nil {
		return err
	}
	n := node{dir: in.fd, name: path.Base(m.Path), fd: -1, inherits: in.inherits}
	switch {
	case m.Kind == File && m.Size <= smallSize && !m.sparse:
		err = x.small(ctx, t, in, m)
	case m.Kind == File:
		err = n.file(m, &x.report, func(fd int) error { return x.large(ctx, t, fd, m) })
		if _, ok := errors.AsType[*damagedError](err); ok {
			err = errors.Join(err, unix.Unlinkat(n.dir, n.name, 0))
		}
	case m.Kind == Hardlink:
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

// small leaves a file to the crew.
func (x *extractor) small(ctx context.Context, t *tarReader, in *level, m *member) error {
	b, err := x.crew.room(in, m.Size)
	if err != nil {
		return err
	}
	before := len(b.data)
	err = x.contents(ctx, t, segment{0, m.Size}, func(data []byte, _ int64) error {
		b.data = append(b.data, data...)
		return nil
	})
	if err != nil {
		b.data = b.data[:before]
		return err
	}
	b.files = append(b.files, smallFile{m, int(m.Size)})
	return nil
}

// large writes a file right away. One with holes is all hole at first.
func (x *extractor) large(ctx context.Context, t *tarReader, fd int, m *member) error {
	all := segments{{0, m.Size}}
	if m.sparse {
		var err error
		if all, err = t.sparse(m); err != nil {
			return &damagedError{err}
		}
		if err := unix.Ftruncate(fd, m.Size); err != nil {
			return fmt.Errorf("make it of %d bytes: %w", m.Size, err)
		}
	}
	for _, s := range all {
		err := x.contents(ctx, t, s, func(data []byte, at int64) error { return x.quiet.writeAt(fd, data, at) })
		if err != nil {
			return err
		}
	}
	return nil
}

// contents takes a piece of a file out of the archive.
func (x *extractor) contents(ctx context.Context, t *tarReader, s segment, write func(data []byte, at int64) error) error {
	for s.size > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		data, err := t.data(s.size)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if err := write(data, s.at); err != nil {
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
		err = replacing(n, func() error {
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
	err := replacing(n, func() error { return n.make(m) })
	if denied(err) {
		return &skipError{m.Kind.String(), err}
	}
	if err != nil {
		return fmt.Errorf("create %v: %w", m.Kind, err)
	}
	return n.restore(m, func(what string, why error) { x.report.skip(m.Path, what, why) })
}

// members calls each with every member up to the proven end.
func members(ctx context.Context, t *tarReader, each func(*member) error) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m, err := t.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := each(m); err != nil {
			return err
		}
	}
}
