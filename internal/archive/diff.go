package archive

import (
	"context"
	"iter"
	"strings"
)

// Changed says in what an entry differs between two archives.
type Changed uint8

// What may have changed. An entry that is in only one of the archives was added or removed, and nothing else is said of it.
const (
	Added Changed = 1 << iota
	Removed
	KindChanged  // it is something else, or another device
	DataChanged  // its size, or the time that its data was written last: as rsync tells by default
	ModeChanged  // permissions
	OwnerChanged // user or group
	TimeChanged  // of modification
	LinkChanged  // what a symlink says, or what a hard link is another name of
)

func (c Changed) String() string {
	names := [...]string{"added", "removed", "kind", "data", "mode", "owner", "time", "link"}
	var all []string
	for i, name := range names {
		if c&(1<<i) != 0 {
			all = append(all, name)
		}
	}
	return strings.Join(all, ",")
}

// Change is an entry that is not the same in two archives.
type Change struct {
	Path   string
	What   Changed
	Before *Indexed // nil when it was added
	After  *Indexed // nil when it was removed
}

// Diff gives all changes from one archive to another, in the order of the walk, in one pass over both indexes: no data are read, and
// memory does not grow with the entries. After an error there is nothing more.
func Diff(ctx context.Context, before, after *Reader) iter.Seq2[Change, error] {
	return Changes(before.Entries(ctx, "."), after.Entries(ctx, "."))
}

// Changes is Diff of entries from anywhere that come in the order of the walk.
func Changes(before, after iter.Seq2[Indexed, error]) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		nextOld, stopOld := iter.Pull2(before)
		defer stopOld()
		nextNew, stopNew := iter.Pull2(after)
		defer stopNew()
		a, b := cursor{next: nextOld}, cursor{next: nextNew}
		a.advance()
		b.advance()
		for a.err == nil && b.err == nil && (a.at != nil || b.at != nil) {
			c := lesser(&a, &b)
			if c.What != 0 && !yield(c, nil) {
				return
			}
		}
		for _, err := range []error{a.err, b.err} {
			if err != nil {
				yield(Change{}, err)
				return
			}
		}
	}
}

// cursor is a place in a stream of entries.
type cursor struct {
	next func() (Indexed, error, bool)
	at   *Indexed // nil at the end
	err  error
}

func (c *cursor) advance() {
	e, err, ok := c.next()
	c.at, c.err = &e, err
	if !ok || err != nil {
		c.at = nil
	}
}

// lesser takes the lesser path off the streams, or the one that both have.
func lesser(a, b *cursor) Change {
	order := 0
	switch {
	case a.at == nil:
		order = 1
	case b.at == nil:
		order = -1
	default:
		order = ComparePaths(a.at.Path, b.at.Path)
	}
	var c Change
	if order <= 0 {
		c.Path, c.Before, c.What = a.at.Path, a.at, Removed
		a.advance()
	}
	if order >= 0 {
		c.Path, c.After, c.What = b.at.Path, b.at, Added
		b.advance()
	}
	if order == 0 {
		c.What = Compare(c.Before, c.After)
	}
	return c
}

// Compare tells in what two entries of the same path differ.
func Compare(a, b *Indexed) (what Changed) {
	set := func(differ bool, bit Changed) {
		if differ {
			what |= bit
		}
	}
	later := !a.ModTime.Equal(b.ModTime)
	set(a.Kind != b.Kind || a.Rdev != b.Rdev, KindChanged)
	set(a.Size != b.Size || later && a.Kind == File && b.Kind == File, DataChanged)
	set(a.Mode != b.Mode, ModeChanged)
	set(a.UID != b.UID || a.GID != b.GID, OwnerChanged)
	set(later, TimeChanged)
	set(a.Linkname != b.Linkname, LinkChanged)
	return what
}
