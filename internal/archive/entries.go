package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"sort"
	"strings"
)

// Entries gives the entry of a path and those of all below it, in the order of the walk; "." is the root, and gives everything. A path that is
// not there gives none. Only the blocks of the index that it may be in are fetched. After an error there is nothing more.
func (r *Reader) Entries(ctx context.Context, under string) iter.Seq2[Indexed, error] {
	return func(yield func(Indexed, error) bool) {
		name, err := lookup(under)
		if err != nil {
			yield(Indexed{}, err)
			return
		}
		from, to := r.blocksOf(name, true)
		for e, err := range r.walk(ctx, from, to) {
			if err != nil {
				yield(Indexed{}, fmt.Errorf("list %q: %w", name, err))
				return
			}
			if !below(name, e.Path) {
				if ComparePaths(e.Path, name) > 0 {
					return
				}
				continue
			}
			if !yield(*e, nil) {
				return
			}
		}
	}
}

// Stat gives one entry, or fs.ErrNotExist. A hard link is as good a name as the first: its entry is that of what it links to, under
// the path that was asked for.
func (r *Reader) Stat(ctx context.Context, name string) (Indexed, error) {
	name, err := lookup(name)
	if err != nil {
		return Indexed{}, err
	}
	e, err := r.find(ctx, name)
	if err == nil && e.Kind == Hardlink {
		first := e.Linkname
		if e, err = r.find(ctx, first); err == nil && (e.Kind == Hardlink || e.Kind == Folder) {
			err = fmt.Errorf("hard link to %q, which is a %v", first, e.Kind)
		}
	}
	if err != nil {
		return Indexed{}, fmt.Errorf("look up %q: %w", name, err)
	}
	e.Path = name
	return *e, nil
}

// lookup is the path that somebody means.
func lookup(name string) (string, error) {
	clean := path.Clean(name)
	if clean == ".." || strings.HasPrefix(clean, "../") || strings.HasPrefix(clean, "/") {
		return "", fmt.Errorf("look up %q: must be relative to the root of the archive: %w", name, fs.ErrInvalid)
	}
	return clean, nil
}

// below tells whether a path is this one or lies below it.
func below(name, p string) bool {
	return name == "." || p == name || strings.HasPrefix(p, name) && p[len(name)] == '/'
}

// blocksOf gives the blocks, by their numbers from and up to, that may have a path, and if wanted those that may have anything below it.
func (r *Reader) blocksOf(name string, descend bool) (from, to int) {
	all := r.entryBlocks
	// First keys may be cut, and then say only that the first path is not less. So the search begins one block early, unless
	// a key is the very path.
	cut := name[:min(len(name), maxKey)]
	from = sort.Search(len(all), func(i int) bool { return ComparePaths(string(all[i].Path), cut) >= 0 })
	if from == len(all) || len(name) >= maxKey || string(all[from].Path) != name {
		from = max(from-1, 0)
	}
	to = sort.Search(len(all), func(i int) bool {
		key := string(all[i].Path)
		return ComparePaths(key, cut) > 0 && !(descend && below(name, key))
	})
	return from, max(from, to)
}

// walk gives the entries of blocks that follow one another.
func (r *Reader) walk(ctx context.Context, from, to int) iter.Seq2[*Indexed, error] {
	return func(yield func(*Indexed, error) bool) {
		last, number := "", from
		for b, got := range r.own.blocks(ctx, r.entryBlocks[from:to]) {
			err := got.err
			if err == nil {
				record := 0
				last, err = r.parseEntries(b, got.records, last, func(e *Indexed) bool {
					e.position = Position{number, record}
					record++
					return yield(e, nil)
				})
			}
			number++
			if errors.Is(err, errEnough) {
				return
			}
			if err != nil {
				yield(nil, damaged(err))
				return
			}
		}
	}
}

// errEnough ends an iteration that nobody wants to go on.
var errEnough = errors.New("enough")

// parseEntries reads the entries of a block, the first of which comes after the path before.
func (r *Reader) parseEntries(b *blockInfo, records []byte, before string, got func(*Indexed) bool) (last string, err error) {
	last, first := before, true
	err = each(r.own.codec, b, records, func(rec *entryRecord) error {
		shared := last
		if first {
			shared = "" // a block is read without those before it
		}
		e, err := rec.entry(shared, r.own.directory.Totals.Tar)
		if err != nil {
			return err
		}
		if first && e.Path[:min(len(e.Path), maxKey)] != string(b.Path) {
			return fmt.Errorf("it begins with %.80q, the directory says %.80q", e.Path, b.Path)
		}
		if last != "" && ComparePaths(last, e.Path) >= 0 {
			return fmt.Errorf("%.80q comes after %.80q", e.Path, last)
		}
		last, first = e.Path, false
		if !got(e) {
			return errEnough
		}
		return nil
	})
	return last, err
}
