package archive

import (
	"context"
	"iter"
	"time"

	"golang.org/x/sys/unix"
)

// Base is an earlier archive of a folder, for what has not changed since. NewBase makes one.
type Base interface{ base() *base }

type base struct {
	name string
	from *Reader
}

func (b *base) base() *base { return b }

// NewBase makes a base of an archive that is to be called so by those that lean on it. Only its index is read, so the reader's source need not
// have the rest. What it has of a file must be what was there: an archive that is damaged, or made by other means than this package, is
// none. How still the folder was held does not matter.
func NewBase(name string, from *Reader) Base { return &base{name, from} }

// reuse finds what an earlier archive has of a folder that is being walked. Both are in the same order, so it is one pass over the index.
type reuse struct {
	base  *base
	since *moment // when the base's files were looked at
	span  time.Duration
	index *indexWriter // that of the new archive

	entries cursor
	stop    func()
	numbers []int // which archive of the new one each is that the base knows, itself the first; 0 for none so far

	why     string // nothing more can be taken over
	whole   int64  // members that were taken over
	files   int64
	bytes   int64
	members int64 // that the base has
}

func newReuse(ctx context.Context, b *base, now *moment, span time.Duration, index *indexWriter) *reuse {
	d := b.from.own.directory
	r := &reuse{
		base: b, since: d.Made, span: span, index: index, stop: func() {},
		numbers: make([]int, 1+len(d.Leans)), members: d.Totals.Entries, why: d.Made.stale(now),
	}
	if r.why == "" {
		r.entries.next, r.stop = iter.Pull2(b.from.Entries(ctx, "."))
		r.advance()
	}
	return r
}

func (r *reuse) close() {
	if r != nil {
		r.stop()
	}
}

// advance goes on to the base's next entry. An index that can't be read has none.
func (r *reuse) advance() {
	if r.entries.advance(); r.entries.err != nil {
		r.why = r.entries.err.Error()
	}
}

// find gives the base's entry of a path, or nil. Paths come in the order of the walk.
func (r *reuse) find(path string) *Indexed {
	for r.entries.at != nil {
		switch order := ComparePaths(r.entries.at.Path, path); {
		case order == 0:
			return r.entries.at
		case order > 0:
			return nil
		}
		r.advance()
	}
	return nil
}

// slices gives the places of an entry's whole member, as the new archive calls them, or nil.
func (r *reuse) slices(ctx context.Context, e *Indexed) []sliceRecord {
	where := e.member(r.base.from.own.directory.Totals.Tar)
	var all []sliceRecord
	for s, err := range r.base.from.slices(ctx, where) {
		if err != nil {
			r.why, r.entries.at = err.Error(), nil
			return nil
		}
		in := s.in.and(where)
		number := r.number(s.archive)
		if number == 0 {
			return nil
		}
		all = append(all, sliceRecord{Archive: number, At: s.at + in.lo - s.in.lo, Length: in.hi - in.lo})
	}
	return all
}

// number is which archive of the new one it is that the base calls by a number, or 0 when there are too many.
func (r *reuse) number(archive int) int {
	if r.numbers[archive] == 0 && len(r.index.leans) < maxLeans {
		own := r.base.from.own
		l := lean{Name: []byte(r.base.name), Size: own.size, Directory: own.trailer.digest}
		if archive > 0 {
			l = own.directory.Leans[archive-1]
		}
		r.index.leans = append(r.index.leans, l)
		r.numbers[archive] = len(r.index.leans)
	}
	return r.numbers[archive]
}

// tell puts into a summary what was taken over.
func (r *reuse) tell(s *Summary) {
	if r == nil {
		return
	}
	s.Reused, s.ReusedBytes, s.Distrust = r.files, r.bytes, r.why
	s.Unchanged = r.whole == s.Entries && r.whole == r.members
}

// same puts a member into the tar as the base has it, if it cannot have changed since. Its file is open, unless it is none or a link.
func (w *walker) same(ctx context.Context, kind Kind, fd int, st *unix.Statx_t, name, link string) (done bool, err error) {
	if w.reuse == nil {
		return false, nil
	}
	e := w.reuse.find(name)
	if e == nil || !e.unchanged(w.reuse.since, w.reuse.span, kind, st) || kind == Hardlink && e.Linkname != link {
		return false, nil
	}
	where := w.reuse.slices(ctx, e)
	if where == nil {
		return false, nil
	}
	m := newMember(name, kind, st, nil)
	m.Linkname, m.stored, m.sparse = e.Linkname, e.stored, e.Sparse
	w.begin(m)
	m.data = m.from + e.header
	if err := w.out.lean(ctx, where); err != nil {
		return false, err
	}
	w.reuse.whole++
	if kind == File {
		if err := w.sameData(fd, st, m); err != nil {
			return false, err
		}
	}
	return true, w.done(m)
}

// sameData counts the data of a file that was taken over, and shows its beginning to who wants to see that.
func (w *walker) sameData(fd int, st *unix.Statx_t, m *member) error {
	bytes := m.Size
	if m.sparse {
		all, err := holes(fd, st)
		if err != nil {
			return err
		}
		bytes = 0
		for _, s := range all {
			bytes += s.size
		}
		if len(all) == 0 || all[0].at > 0 {
			m.head = ""
		}
	}
	w.reuse.files++
	w.reuse.bytes += bytes
	w.sum.Bytes += bytes
	if m.head == "" {
		return nil
	}
	var head [HeadSize]byte
	var quiet quietReader
	n, err := quiet.readAt(fd, head[:], int(min(m.Size, HeadSize)), 0)
	if err == nil && n > 0 && int64(n) == min(m.Size, HeadSize) {
		w.observer.Head(m.head, head[:n])
	}
	return err
}
