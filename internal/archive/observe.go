package archive

import "golang.org/x/sys/unix"

// Observer is shown what goes into an archive while it is made. It costs no reading, and must be quick.
type Observer interface {
	// Member is told of each member, in the order of the walk, before its data is read. It tells whether it wants the first bytes of a file.
	Member(e Entry) (head bool)

	// Head is told the first bytes of a file, HeadSize of them or all that it has, as they are in the archive. Of a file that was cloned
	// that is later than other members. Of one whose first bytes are a hole, that shrank just then, or whose path no system call would take it is not told.
	Head(path string, head []byte)
}

// HeadSize is how many of a file's first bytes an Observer may see.
const HeadSize = 64

// observed shows an observer a member, and tells which file's first bytes it wants; "" for none.
func (w *walker) observed(m *member) (head string) {
	if w.observer == nil || !w.observer.Member(m.Entry) || m.Kind != File || len(m.Path) > unix.PathMax {
		return ""
	}
	return m.Path
}

// heads keeps the first bytes of a file until there are enough, as it may be read in pieces of any size.
type heads struct {
	to  Observer // nil for nobody
	buf [HeadSize]byte
	n   int64
}

// pass lets bytes of a file go by that were read at an offset. They come in order, and data that lie in holes do not come.
func (h *heads) pass(from source, at int64, p []byte, size int64) {
	if from.head == "" || at >= HeadSize {
		return
	}
	if at == 0 {
		h.n = 0
	}
	if at != h.n {
		return
	}
	h.n += int64(copy(h.buf[at:], p))
	if h.n == min(size, HeadSize) {
		h.to.Head(from.head, h.buf[:h.n])
	}
}
