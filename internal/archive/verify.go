package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sort"
)

// Damage is a part of a snapshot that can't be read.
type Damage struct {
	Archive string // the one that it lies in; "" is the snapshot's own
	Offset  int64  // in the stored archive
	Length  int64  // bytes there
	Err     error

	// Paths are the first 100 entries that have bytes there; Entries is how many have. An entry that lies in several
	// damaged parts is among those of each. Damage of the index hits none of them, but finding them.
	Paths   []string
	Entries int64

	tar span
}

const (
	maxDamages     = 10_000 // beyond which the archive is as good as lost
	maxDamagePaths = 100
)

// errTooMuch ends a verification.
var errTooMuch = fmt.Errorf("more than %d damaged parts", maxDamages)

// Verify reads all that a snapshot needs and checks it: each block of the index and each frame by its SHA-256, and the tar that comes out
// against the index, up to its end. It goes on after damage, and gives everything that is damaged, that of the index first. An error says
// why it could not look at everything (a SourceError, or the end of ctx), or that what is there is undamaged and yet wrong. Progress is called with the bytes of the
// tar that are done, often, and by the caller's goroutine; it may be nil.
func (r *Reader) Verify(ctx context.Context, progress func(done int64)) ([]Damage, error) {
	v := verifier{r: r, progress: progress}
	err := v.index(ctx)
	if err == nil {
		err = v.data(ctx)
	}
	if naming := v.name(ctx); err == nil && len(v.found) == v.ofData {
		err = naming // which else has been told already
	}
	if err != nil {
		return v.found, fmt.Errorf("verify: %w", err)
	}
	return v.found, nil
}

type verifier struct {
	r        *Reader
	progress func(done int64)
	found    []Damage
	ofData   int // how many of these are no damage of the index
	done     int64
	many     bool // more than can be kept
}

func (v *verifier) add(d Damage) {
	if v.many = len(v.found) == maxDamages; !v.many {
		v.found = append(v.found, d)
	}
}

// index checks all blocks, one at a time, also those of a kind that is not known.
func (v *verifier) index(ctx context.Context) error {
	own := v.r.own
	for i := range own.directory.Blocks {
		b := &own.directory.Blocks[i]
		for _, got := range own.blocks(ctx, []*blockInfo{b}) {
			if got.err == nil {
				continue
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if _, unread := errors.AsType[*SourceError](got.err); unread {
				return got.err
			}
			v.add(Damage{Offset: b.place, Length: b.Length, Err: got.err})
		}
	}
	return nil
}

// data reads the whole tar.
func (v *verifier) data(ctx context.Context) error {
	f := v.r.flow(ctx, one(span{0, v.r.own.directory.Totals.Tar}))
	defer f.close()
	t := &tarReader{plain: f.plain}
	t.plain.meet = v.meet
	err := v.members(ctx, t)
	if err != nil && ctx.Err() == nil && len(v.found) > 0 {
		// Zeros stand for what is damaged, so the tar or the index could not be read. But the frames after that can.
		if draining := drain(&t.plain); v.done == v.r.own.directory.Totals.Tar {
			err = draining
		}
	}
	if err != nil {
		return ended(ctx, err)
	}
	if v.many {
		return errTooMuch
	}
	return nil
}

// meet sees each piece as it comes, and lets zeros stand for one that is damaged.
func (v *verifier) meet(b *block) {
	p := &b.piece
	if p.origin == nil { // an error of reading
		return
	}
	if b.err != nil {
		v.ofData++
		v.add(Damage{
			Archive: p.origin.name, Offset: p.frame.place, Length: int64(p.frame.stored), Err: b.err,
			tar: span{p.at, p.at + int64(p.hi-p.lo)},
		})
		b.zero(p.hi - p.lo)
	}
	v.done += int64(p.hi - p.lo)
	if v.progress != nil {
		v.progress(v.done)
	}
}

func drain(p *plainReader) error {
	for {
		if _, err := p.some(frameSize); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// members compares the tar with the index. A member that the index does not have is one that a later one replaces.
func (v *verifier) members(ctx context.Context, t *tarReader) error {
	next, stop := iter.Pull2(v.r.Entries(ctx, "."))
	defer stop()
	for {
		e, err, more := next()
		if err != nil {
			return err
		}
		for {
			from := t.plain.at + t.left + t.pad
			m, err := t.next()
			if err == io.EOF && !more {
				return nil
			}
			if err == io.EOF {
				return fmt.Errorf("entry %q is not in the tar: %w", e.Path, errMissing)
			}
			if err != nil {
				return err
			}
			if !more || from != e.from {
				continue
			}
			if err := e.is(m, t.plain.at-from); err != nil {
				return err
			}
			break
		}
	}
}

// is tells whether an entry is this member, which takes so many bytes up to its data.
func (e *Indexed) is(m *member, header int64) error {
	was, is := m.Entry, e.Entry
	if !was.ModTime.Equal(is.ModTime) {
		return fmt.Errorf("entry %q: it is not what the tar has", e.Path)
	}
	was.ModTime = is.ModTime
	if was != is || m.stored != e.stored || m.sparse != e.Sparse || header != e.header {
		return fmt.Errorf("entry %q: it is not what the tar has", e.Path)
	}
	return nil
}

// name finds out what damage hits, in one pass over the entries.
func (v *verifier) name(ctx context.Context) error {
	var hit []*Damage // in the order of the tar
	for i := range v.found {
		if !v.found[i].tar.empty() {
			hit = append(hit, &v.found[i])
		}
	}
	if len(hit) == 0 {
		return nil
	}
	for e, err := range v.r.Entries(ctx, ".") {
		if err != nil {
			return err
		}
		first := sort.Search(len(hit), func(i int) bool { return hit[i].tar.hi > e.from })
		for _, d := range hit[first:] {
			if d.tar.lo >= e.end() {
				break
			}
			if d.Entries++; len(d.Paths) < maxDamagePaths {
				d.Paths = append(d.Paths, e.Path)
			}
		}
	}
	return nil
}
