package archive

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// file writes an open regular file.
func (w *walker) file(ctx context.Context, fd int, st *unix.Statx_t, name string) error {
	if w.elsewhere(st) {
		w.sum.Mounts = append(w.sum.Mounts, name)
		return nil
	}
	if done, err := w.link(ctx, st, name); done || err != nil {
		return err
	}
	if w.settles {
		if err := settle(fd); err != nil {
			return fmt.Errorf("settle %q: %w", name, err)
		}
	}
	if done, err := w.same(ctx, File, fd, st, name, ""); done || err != nil {
		return err
	}
	x, err := fileXattrs(fd)
	if err != nil {
		return fmt.Errorf("read %q: %w", name, err)
	}
	m := newMember(name, File, st, x)
	m.segments, err = holes(fd, st)
	if err != nil {
		return fmt.Errorf("look for holes in %q: %w", name, err)
	}
	if m.segments != nil {
		m.sparse = true
		m.stored = m.segments.stored(m.Size)
	}
	if err := w.header(ctx, m); err != nil {
		return err
	}
	if w.step != nil {
		w.step("read", name)
	}
	if m.resized, err = w.contents(ctx, fd, m); err != nil {
		return fmt.Errorf("read %q: %w", name, err)
	}
	if m.resized {
		w.sum.Resized++
	}
	if err := w.out.zeros(ctx, padding(m.stored)); err != nil {
		return err
	}
	return w.done(m)
}

// contents writes what the header has promised. What is a hole has been decided by now, whatever the file has become.
func (w *walker) contents(ctx context.Context, fd int, m *member) (resized bool, err error) {
	from := w.out.source(fd, m.Size)
	from.head = m.head
	if !m.sparse {
		return w.segment(ctx, from, segment{0, m.Size}, m.Size)
	}
	if err := w.out.write(ctx, m.segments.text(m.Size)); err != nil {
		return false, err
	}
	var end int64
	for _, s := range m.segments {
		changed, err := w.segment(ctx, from, s, m.Size)
		if err != nil {
			return false, err
		}
		resized = resized || changed
		end = s.end()
	}
	if end == m.Size || resized {
		return resized, nil
	}
	// The file ends with a hole, so the end has not been looked at.
	size, err := from.end()
	return size != m.Size, err
}

func (w *walker) segment(ctx context.Context, from source, s segment, size int64) (resized bool, err error) {
	w.sum.Bytes += s.size
	return w.out.segment(ctx, from, s, size)
}

// output is where a walker's tar goes.
type output interface {
	// size is how many bytes of the tar there are so far.
	size() int64
	write(ctx context.Context, data []byte) error
	zeros(ctx context.Context, n int64) error
	// lean says that what comes next lies in other archives.
	lean(ctx context.Context, all []sliceRecord) error

	// source says where the data of an open file are to be read from.
	source(fd int, size int64) source
	// segment writes a part of a file that is to have such a size. What is not there is filled up with zeros, what is beyond is left
	// out, and either counts as resized.
	segment(ctx context.Context, from source, s segment, size int64) (resized bool, err error)
}

// source is a file to read data from: an open one, or a clone of it as it was at one moment.
type source struct {
	fd     int
	cloned bool
	base   int64 // of a clone: where it begins in the file of clones
	length int64 // of a clone: how long it is

	head string // path of a file whose first bytes an observer wants, else ""
}

// end is how long the file is by now.
func (f source) end() (int64, error) {
	if f.cloned {
		return f.length, nil
	}
	st, err := stat(f.fd, "")
	if err != nil {
		return 0, fmt.Errorf("stat: %w", err)
	}
	return int64(st.Size), nil
}

// readAt is quietReader.readAt within the file. Of a clone, nothing can be read twice.
func (f source) readAt(quiet *quietReader, p []byte, least int, at int64) (int, error) {
	if !f.cloned {
		return quiet.readAt(f.fd, p, least, at)
	}
	p = p[:min(int64(len(p)), max(0, f.length-at))]
	n, err := quiet.readAt(f.fd, p, min(least, len(p)), f.base+at)
	unshare(f.fd, f.base+at, int64(n))
	return n, err
}

// dataReader reads the data of files, tells how far it is and keeps to a rate.
type dataReader struct {
	quiet quietReader
	pace  pacer
	tell  func(read int64)
	heads heads
	read  int64 // bytes of file data
}

// count tells of data that was read, and slows reading down to its limit.
func (r *dataReader) count(ctx context.Context, n int) error {
	r.read += int64(n)
	if r.tell != nil {
		r.tell(r.read)
	}
	return r.pace.spend(ctx, n)
}

// direct is an output that reads data at once, straight into frames.
type direct struct {
	packer
	*dataReader
}

func (d *direct) size() int64 { return d.tar }

func (d *direct) source(fd int, _ int64) source { return source{fd: fd} }

// segment reads a part of a file straight into frames. Of a large one they are cut at multiples of a frame's size of the file's own offset.
//
// A file that has fewer bytes than it had is filled up with zeros; one that has more shows itself by a byte beyond its size, which
// costs no further call.
func (d *direct) segment(ctx context.Context, from source, s segment, size int64) (resized bool, err error) {
	large := s.size >= frameSize
	if large {
		d.cut()
		defer func() {
			if err == nil {
				d.cut()
			}
		}()
	}
	for s.size > 0 {
		room, err := d.room(ctx)
		if err != nil {
			return false, err
		}
		want := int(min(s.size, int64(len(room))))
		if large {
			want = min(want, frameSize-int(s.at%frameSize))
		}
		n, err := d.fill(from, room, s.at, want, size)
		if err != nil {
			return false, err
		}
		got := min(n, want)
		d.advance(got)
		s.at, s.size = s.at+int64(got), s.size-int64(got)
		if large && s.at%frameSize == 0 {
			d.cut()
		}
		if err := d.count(ctx, got); err != nil {
			return false, err
		}
		if n < want {
			return true, d.zeros(ctx, s.size)
		}
		resized = n > want
	}
	return resized, nil
}

// fill reads so many bytes into p, or fewer where the file ends, and one more where it does not end at the size that it is to have. p
// has room for that one.
func (r *dataReader) fill(from source, p []byte, at int64, want int, size int64) (int, error) {
	beyond := 0
	if at+int64(want) == size {
		beyond = 1
	}
	n, err := from.readAt(&r.quiet, p[:want+beyond], want, at)
	if err == nil {
		r.heads.pass(from, at, p[:min(n, want)], size)
	}
	return n, err
}
