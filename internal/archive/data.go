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
	if !m.sparse {
		return w.segment(ctx, fd, segment{0, m.Size}, m.Size)
	}
	if err := w.out.write(ctx, m.segments.text(m.Size)); err != nil {
		return false, err
	}
	var end int64
	for _, s := range m.segments {
		changed, err := w.segment(ctx, fd, s, m.Size)
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
	st, err := stat(fd, "")
	if err != nil {
		return false, fmt.Errorf("stat: %w", err)
	}
	return int64(st.Size) != m.Size, nil
}

// segment reads a part of a file straight into frames. Of a large one they are cut at multiples of a frame's size of the file's own offset.
//
// A file that has fewer bytes than it had is filled up with zeros; one that has more shows itself by a byte beyond its size, which
// costs no further call.
func (w *walker) segment(ctx context.Context, fd int, s segment, size int64) (resized bool, err error) {
	w.sum.Bytes += s.size
	large := s.size >= frameSize
	if large {
		w.out.cut()
		defer func() {
			if err == nil {
				w.out.cut()
			}
		}()
	}
	for s.size > 0 {
		room, err := w.out.room(ctx)
		if err != nil {
			return false, err
		}
		want := int(min(s.size, int64(len(room))))
		if large {
			want = min(want, frameSize-int(s.at%frameSize))
		}
		beyond := 0
		if s.at+int64(want) == size {
			beyond = 1
		}
		n, err := w.quiet.readAt(fd, room[:want+beyond], want, s.at)
		if err != nil {
			return false, err
		}
		got := min(n, want)
		w.out.advance(got)
		s.at, s.size = s.at+int64(got), s.size-int64(got)
		if large && s.at%frameSize == 0 {
			w.out.cut()
		}
		if err := w.count(ctx, got); err != nil {
			return false, err
		}
		if n < want {
			return true, w.out.zeros(ctx, s.size)
		}
		resized = n > want
	}
	return resized, nil
}

// count tells of data that was read, and slows reading down to its limit.
func (w *walker) count(ctx context.Context, n int) error {
	w.read += int64(n)
	if w.tell != nil {
		w.tell(w.read)
	}
	return w.pace.spend(ctx, n)
}
