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
	if err := w.header(ctx, m); err != nil {
		return err
	}
	if w.step != nil {
		w.step("read", name)
	}
	large := m.Size >= frameSize
	if large {
		w.out.cut()
	}
	resized, err := w.data(ctx, fd, m.Size)
	if err != nil {
		return fmt.Errorf("read %q: %w", name, err)
	}
	if large {
		w.out.cut()
	}
	if resized {
		w.sum.Resized++
	}
	w.sum.Bytes += m.Size
	m.resized, m.stored = resized, m.Size
	if err := w.out.zeros(ctx, padding(m.stored)); err != nil {
		return err
	}
	return w.done(m)
}

// data reads as many bytes as the header has promised, straight into frames. A file that has fewer is filled up with zeros; one that has
// more shows itself by a byte beyond, which costs no further call.
func (w *walker) data(ctx context.Context, fd int, size int64) (resized bool, err error) {
	for left := size; left > 0; {
		room, err := w.out.room(ctx)
		if err != nil {
			return false, err
		}
		want := int(min(left, int64(len(room))))
		beyond := 0
		if int64(want) == left {
			beyond = 1
		}
		n, err := readAtLeast(fd, room[:want+beyond], want)
		if err != nil {
			return false, err
		}
		got := min(n, want)
		w.out.advance(got)
		left -= int64(got)
		if err := w.count(ctx, got); err != nil {
			return false, err
		}
		if n < want {
			return true, w.out.zeros(ctx, left)
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
