package archive

import (
	"context"
	"errors"
	"io/fs"
	"iter"
)

// Matching gives the entries whose very path a pattern matches, in the order of the walk; the root is never one of them. A hard link is
// given as what it links to, under its own path. Only the blocks of the index that such a path may be in are fetched. After an error
// there is nothing more.
func (r *Reader) Matching(ctx context.Context, pattern string) iter.Seq2[Indexed, error] {
	return func(yield func(Indexed, error) bool) {
		chosen, err := parseGlobs([]string{pattern})
		if err != nil {
			yield(Indexed{}, err)
			return
		}
		for e, err := range r.candidates(ctx, chosen) {
			if err == nil && (e.Path == "." || !chosen.match(e.Path)) {
				continue
			}
			if err == nil && e.Kind == Hardlink {
				e, err = r.Stat(ctx, e.Path)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// candidates gives the entries among which are all that a single pattern matches.
func (r *Reader) candidates(ctx context.Context, chosen globs) iter.Seq2[Indexed, error] {
	if base := chosen.base(); base != chosen[0] {
		return r.Entries(ctx, base)
	}
	return func(yield func(Indexed, error) bool) { // a path: not all that may be below it
		e, err := r.Stat(ctx, chosen[0])
		if !errors.Is(err, fs.ErrNotExist) {
			yield(e, err)
		}
	}
}
