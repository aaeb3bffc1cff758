package archive

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// Walk gives the entries that Create would archive of a folder, in the same order, by their stat alone: no data is read. Of what it gives
// nothing has a place in an archive. Memory is bounded as Create's is. After an error there is nothing more.
func Walk(ctx context.Context, dir string, o Options) iter.Seq2[Indexed, error] {
	return func(yield func(Indexed, error) bool) {
		if err := walk(ctx, dir, o, yield); err != nil && !errors.Is(err, errEnough) {
			yield(Indexed{}, err)
		}
	}
}

func walk(ctx context.Context, dir string, o Options, yield func(Indexed, error) bool) error {
	exclude, err := parseGlobs(o.Exclude)
	if err != nil {
		return fmt.Errorf("exclude: %w", err)
	}
	w := newWalker(o.Scratch)
	w.exclude, w.out = exclude, nowhere{}
	w.note = func(m *member) error {
		if !yield(m.indexed(), nil) {
			return errEnough
		}
		return nil
	}
	return w.archive(ctx, dir)
}

// indexed is a member that is in no archive.
func (m *member) indexed() Indexed {
	e := Indexed{
		Entry: m.Entry, ChangeTime: m.seen.changed.time(), Device: m.seen.device.number(), Inode: m.seen.inode,
		Rdev: device{m.major, m.minor}.number(), Sparse: m.sparse,
	}
	if m.seen.born != (stamp{}) {
		e.BirthTime = m.seen.born.time()
	}
	return e
}

func (s stamp) time() time.Time { return time.Unix(s.sec, int64(s.ns)).UTC() }

// Covered gives those entries that one of the patterns covers (all, when there are none), as a restore of these would take them.
func Covered(entries iter.Seq2[Indexed, error], patterns []string) iter.Seq2[Indexed, error] {
	return func(yield func(Indexed, error) bool) {
		chosen, err := parseGlobs(patterns)
		if err != nil {
			yield(Indexed{}, err)
			return
		}
		for e, err := range entries {
			if err == nil && !chosen.cover(e.Path) {
				continue
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}
