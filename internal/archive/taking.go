package archive

import (
	"cmp"
	"context"
	"fmt"
	"io"
)

// Taking is an archive in the making that needs nothing of its folder any more: whatever becomes of that, the archive is of the moment
// in which it was taken.
type Taking struct {
	dir   string
	index *indexWriter
	press *press
	pack  *direct
	ahead *queue  // nil when everything has been read
	sum   Summary // as far as the walk knows
}

// Take does of Create all that needs the folder: Finish does the rest, to the same bytes. Where files can be cloned that takes much
// less time; else only what is left of compressing and writing comes later. The Taking must be closed, unless there is an error.
//
// The walk is done by the caller's goroutine, so that a panic in it, or in Progress, is one of the caller's, who may have containers to let go.
func Take(ctx context.Context, dir string, w io.Writer, o Options) (*Taking, error) {
	exclude, err := parseGlobs(o.Exclude)
	if err != nil {
		return nil, fmt.Errorf("exclude: %w", err)
	}
	t, err := newTaking(dir, w, o)
	if err != nil {
		return nil, err
	}
	taken := false
	defer func() {
		if !taken {
			t.Close()
		}
	}()
	feeding, fed := t.press.feeding(ctx)
	defer fed()
	if err := t.walk(feeding, exclude, o); err != nil {
		return nil, t.failed(err)
	}
	taken = true
	return t, nil
}

// walk reads the folder, and looks once more at what that takes to prove.
func (t *Taking) walk(ctx context.Context, exclude globs, o Options) error {
	began, err := o.moment(t.dir)
	if err != nil {
		return err
	}
	walk := newWalker(o.Scratch)
	walk.exclude, walk.out, walk.note, walk.step, walk.settles = exclude, t.output(), t.index.entry, o.step, o.Clock != nil
	walk.observer = o.Observer
	if o.Base != nil {
		walk.reuse = newReuse(ctx, o.Base.base(), began, o.span(), t.index)
		defer walk.reuse.close()
	}
	if err := walk.archive(ctx, t.dir); err != nil {
		return err
	}
	t.sum = walk.sum
	walk.reuse.tell(&t.sum)
	if o.Prove {
		if t.sum.Still, err = still(ctx, t.dir, exclude, o, began); err != nil {
			return fmt.Errorf("look a second time: %w", err)
		}
	}
	ended, err := o.moment(t.dir)
	if err == nil && began.untrusted(ended) == "" {
		t.index.made = began
	}
	return err
}

func newTaking(dir string, w io.Writer, o Options) (*Taking, error) {
	workers := workersOr(o.Workers)
	f, err := newFramer(o.Level, workers)
	if err != nil {
		return nil, err
	}
	index, err := newIndexWriter(o.Scratch)
	if err != nil {
		return nil, err
	}
	p := newPress(f, workers, &stored{to: w}, index)
	data := &dataReader{pace: pacer{limit: o.ReadLimit}, tell: o.Progress, heads: heads{to: o.Observer}}
	t := &Taking{dir: dir, index: index, press: p, pack: &direct{packer{line: p.line}, data}}
	if o.Clones != "" {
		t.ahead = &queue{direct: t.pack, clones: clones{dir: o.Clones}, scratch: o.Scratch, limit: cmp.Or(o.Ahead, 256<<20)}
	}
	return t, nil
}

func (t *Taking) output() output {
	if t.ahead != nil {
		return t.ahead
	}
	return t.pack
}

// Finish reads what was left for later, and completes the archive. It closes the Taking.
func (t *Taking) Finish(ctx context.Context) (Summary, error) {
	defer t.Close()
	err := t.rest(ctx)
	if err == nil {
		err = t.press.end()
	}
	if err == nil {
		err = t.index.finish(ctx, t.press.out)
	}
	if err != nil {
		return Summary{}, t.failed(err)
	}
	s := t.sum
	s.Plain, s.Stored = t.pack.tar, t.press.out.size
	s.Directory = t.index.digest
	for _, l := range t.index.leans {
		s.Leans = append(s.Leans, l.public())
	}
	return s, nil
}

// rest puts all that is left on the press's line.
func (t *Taking) rest(ctx context.Context) error {
	feeding, fed := t.press.feeding(ctx)
	defer fed()
	if t.ahead != nil {
		t.sum.Cloned = t.ahead.clones.made
		if err := t.ahead.drain(feeding); err != nil {
			return err
		}
	}
	t.pack.cut()
	return nil
}

// failed is why the archive could not be made. What made writing fail goes before what came of that.
func (t *Taking) failed(err error) error {
	return fmt.Errorf("archive %s: %w", t.dir, cmp.Or(t.press.end(), err))
}

// Close gives back what the Taking holds. Of an archive that is not finished, nothing is of use.
func (t *Taking) Close() {
	_ = t.press.end() // whoever has called Finish knows
	t.index.close()
	if t.ahead != nil {
		t.ahead.close()
	}
}
