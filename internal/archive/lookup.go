package archive

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"sort"
	"strings"
	"unsafe"
)

// block gives the entries of one block of the index.
func (r *Reader) block(ctx context.Context, number int) ([]Indexed, error) {
	key := cacheKey{r.own.trailer.digest, entrySection, int64(number)}
	return through(ctx, r.o.Cache, key, weighEntries, func() (all []Indexed, err error) {
		for e, err := range r.walk(ctx, number, number+1) {
			if err != nil {
				return nil, err
			}
			all = append(all, *e)
		}
		return all, nil
	})
}

func weighEntries(all []Indexed) (n int64) {
	for i := range all {
		n += int64(unsafe.Sizeof(Indexed{})) + int64(len(all[i].Path)+len(all[i].Linkname))
	}
	return n
}

// find gives the entry of this very path.
func (r *Reader) find(ctx context.Context, name string) (*Indexed, error) {
	from, to := r.blocksOf(name, false)
	for number := from; number < to; number++ {
		all, err := r.block(ctx, number)
		if err != nil {
			return nil, err
		}
		i, found := slices.BinarySearchFunc(all, name, func(e Indexed, name string) int { return ComparePaths(e.Path, name) })
		if found {
			e := all[i]
			return &e, nil
		}
	}
	return nil, fs.ErrNotExist
}

// At gives the entry whose record stands at a position, or fs.ErrNotExist.
func (r *Reader) At(ctx context.Context, p Position) (Indexed, error) {
	if p.Block < 0 || p.Block >= len(r.entryBlocks) {
		return Indexed{}, fs.ErrNotExist
	}
	all, err := r.block(ctx, p.Block)
	if err != nil {
		return Indexed{}, fmt.Errorf("look up entry %d of block %d: %w", p.Record, p.Block, err)
	}
	if p.Record < 0 || p.Record >= len(all) {
		return Indexed{}, fs.ErrNotExist
	}
	return all[p.Record], nil
}

// Children gives what is in a folder, and not what is below that, in the order of the walk: what comes after a position, which is the folder's
// own for all of it, else that of one of its children. Only the blocks of the index are fetched that have any of it. Hard links are given as
// such. After an error there is nothing more.
func (r *Reader) Children(ctx context.Context, folder Indexed, after Position) iter.Seq2[Indexed, error] {
	return func(yield func(Indexed, error) bool) {
		for {
			e, err := r.afterwards(ctx, &folder, after)
			if err == fs.ErrNotExist {
				return
			}
			if err != nil {
				yield(Indexed{}, fmt.Errorf("list %q: %w", folder.Path, err))
				return
			}
			after = e.position
			if !folder.has(e.Path) { // an entry without a folder around it
				continue
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// afterwards gives the first entry below a folder that is after the one at a position, and not below that one; fs.ErrNotExist if there is none.
func (r *Reader) afterwards(ctx context.Context, folder *Indexed, after Position) (Indexed, error) {
	next := Position{after.Block, after.Record + 1}
	if after != folder.position {
		last, err := r.At(ctx, after)
		if err != nil {
			return Indexed{}, err
		}
		if last.Kind == Folder {
			if next, err = r.beyond(ctx, last); err != nil {
				return Indexed{}, err
			}
		}
	}
	e, err := r.At(ctx, next)
	if err == fs.ErrNotExist && next.Record > 0 {
		e, err = r.At(ctx, Position{next.Block + 1, 0})
	}
	if err == nil && !below(folder.Path, e.Path) {
		err = fs.ErrNotExist
	}
	return e, err
}

// beyond gives the position of the first entry that is no longer below a folder, or one at which there is none.
func (r *Reader) beyond(ctx context.Context, folder Indexed) (Position, error) {
	// Only blocks that begin with something else can have it, but for the last one that does not; keys that were cut may hide where that is.
	key := folder.Path[:min(len(folder.Path), maxKey)]
	rest := r.entryBlocks[folder.position.Block+1:]
	number := folder.position.Block + sort.Search(len(rest), func(i int) bool { return !below(key, string(rest[i].Path)) })
	for ; number < len(r.entryBlocks); number++ {
		all, err := r.block(ctx, number)
		if err != nil {
			return Position{}, err
		}
		from := 0
		if number == folder.position.Block {
			from = folder.position.Record
		}
		if i := from + sort.Search(len(all)-from, func(i int) bool { return !below(folder.Path, all[from+i].Path) }); i < len(all) {
			return Position{number, i}, nil
		}
	}
	return Position{number, 0}, nil
}

// has tells whether a path that is below the folder lies right in it.
func (e *Indexed) has(path string) bool {
	if e.Path != "." {
		path = path[len(e.Path)+1:]
	}
	return path != "." && !strings.Contains(path, "/")
}
