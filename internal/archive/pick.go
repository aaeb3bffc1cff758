package archive

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Extract is the function of that name, but fetches only what the paths want: their members, and those of the folders above. Damage
// elsewhere in the archive goes unnoticed.
//
// With KeepGoing it names each entry that is hit. That takes the whole index: where that is damaged too, it is the function of that name.
func (r *Reader) Extract(ctx context.Context, dir string, o ExtractOptions) (Report, error) {
	if o.KeepGoing {
		v := verifier{r: r}
		if err := v.index(ctx); err != nil {
			return Report{}, fmt.Errorf("extract: %w", err)
		}
		if len(v.found) > 0 {
			return r.extractUnindexed(ctx, dir, o)
		}
	}
	return r.extract(ctx, dir, o)
}

// extractUnindexed restores by the tar alone, which an archive that leans on others has not.
func (r *Reader) extractUnindexed(ctx context.Context, dir string, o ExtractOptions) (Report, error) {
	if len(r.own.directory.Leans) > 0 {
		return Report{}, fmt.Errorf("extract: the index is damaged, and the archive leans on others: %w", ErrDamaged)
	}
	from, err := r.own.source(ctx, 0, r.own.size)
	if err != nil {
		return Report{}, fmt.Errorf("extract: %w", err)
	}
	defer from.Close() // it was only read from
	return Extract(ctx, from, dir, o)
}

func (r *Reader) extract(ctx context.Context, dir string, o ExtractOptions) (Report, error) {
	chosen, err := parseGlobs(o.Paths)
	if err != nil {
		return Report{}, fmt.Errorf("extract: %w", err)
	}
	x, err := newExtractor(dir, chosen, o)
	if err != nil {
		return Report{}, fmt.Errorf("extract: %w", err)
	}
	f := r.flow(ctx, r.picked(ctx, chosen))
	defer f.close()
	t := &tarReader{plain: f.plain}
	if o.KeepGoing {
		err = newSalvage(x, t).indexed(ctx, r)
	} else {
		err = members(ctx, t, func(m *member) error { return x.member(ctx, t, m) })
	}
	if err != nil && ctx.Err() != nil { // which also looks like the end of the stream
		err = context.Cause(ctx)
	}
	return x.close(dir, err)
}

// picked gives the parts of the tar that have what patterns cover, and its end: together a tar, too.
func (r *Reader) picked(ctx context.Context, chosen globs) iter.Seq2[span, error] {
	return func(yield func(span, error) bool) {
		total := r.own.directory.Totals.Tar
		var part span // that is still growing
		for e, err := range r.wanted(ctx, chosen) {
			if err != nil {
				yield(span{}, err)
				return
			}
			s := e.member(total)
			if s.lo == part.hi {
				part.hi = s.hi
				continue
			}
			if !part.empty() && !yield(part, nil) {
				return
			}
			part = s
		}
		end := span{max(total-2*tarBlock, 0), total}
		if part.hi == end.lo {
			part.hi = end.hi
		} else if !part.empty() && !yield(part, nil) {
			return
		} else {
			part = end
		}
		yield(part, nil)
	}
}

// member is where in a tar of such a length the entry's member lies, with its headers, data and padding.
func (e *Indexed) member(total int64) span {
	return span{e.from, min(e.end()+padding(e.stored), total)}
}

// wanted gives the entries that patterns cover, each folder above one before the first in it.
func (r *Reader) wanted(ctx context.Context, chosen globs) iter.Seq2[*Indexed, error] {
	return func(yield func(*Indexed, error) bool) {
		base := chosen.base()
		above, err := r.above(ctx, base)
		if err != nil {
			yield(nil, err)
			return
		}
		for e, err := range r.Entries(ctx, base) {
			if err != nil {
				yield(nil, err)
				return
			}
			for len(above) > 0 && !below(above[len(above)-1].Path, e.Path) {
				above = above[:len(above)-1]
			}
			if !chosen.cover(e.Path) {
				if e.Kind == Folder {
					above = append(above, &e)
				}
				continue
			}
			for _, folder := range append(above, &e) {
				if !yield(folder, nil) {
					return
				}
			}
			above = nil // they are there
		}
	}
}

// above gives the folders above a path, as far as they are there.
func (r *Reader) above(ctx context.Context, name string) ([]*Indexed, error) {
	var all []*Indexed
	for i := range len(name) {
		folder := "."
		if i > 0 {
			folder = name[:i]
		}
		if name == "." || i > 0 && name[i] != '/' {
			continue
		}
		e, err := r.find(ctx, folder)
		if err == fs.ErrNotExist {
			break
		}
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// base is a path below which everything lies that a single pattern can match.
func (g globs) base() string {
	switch {
	case len(g) != 1 || strings.Contains(g[0], `\`): // a pattern with escapes is no path anywhere
		return "."
	case !strings.ContainsAny(g[0], "*?[{"):
		return g[0]
	}
	base, _ := doublestar.SplitPattern(g[0])
	return base
}
