package archive

import (
	"context"
	"errors"
)

// errNotStill says that a second look found what may have changed since the first.
var errNotStill = errors.New("something may have moved")

// still takes the second look at a folder that was read since a moment, and tells whether nothing moved: by the rules of changed.go, no ctime
// is later than some time before the first look. Names that come and go move the ctime of their folder.
func still(ctx context.Context, dir string, exclude globs, o Options, began *moment) (bool, error) {
	if began == nil || !began.provable() {
		return false, nil
	}
	w := newWalker(o.Scratch)
	w.exclude, w.out = exclude, nowhere{}
	w.note = func(m *member) error {
		if !began.settledBefore(m.seen.changed, o.span()) {
			return errNotStill
		}
		return nil
	}
	err := w.archive(ctx, dir)
	if errors.Is(err, errNotStill) {
		return false, nil
	}
	if err != nil || w.sum.Vanished > 0 {
		return false, err
	}
	ended, err := o.moment(dir)
	return err == nil && began.untrusted(ended) == "", err
}

// nowhere is the output of a walk that only looks.
type nowhere struct{}

func (nowhere) size() int64                               { return 0 }
func (nowhere) write(context.Context, []byte) error       { return nil }
func (nowhere) zeros(context.Context, int64) error        { return nil }
func (nowhere) lean(context.Context, []sliceRecord) error { return nil }
func (nowhere) source(int, int64) source                  { return source{} }
func (nowhere) segment(context.Context, source, segment, int64) (resized bool, err error) {
	return false, nil
}
