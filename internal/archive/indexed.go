package archive

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Indexed is an entry as the index of an archive has it: with more of its stat, and with its place.
type Indexed struct {
	Entry
	ChangeTime   time.Time // of its inode, when it was archived
	BirthTime    time.Time // zero where the file system knew none
	Device       uint64    // that it was on: major number << 32 | minor number
	Inode        uint64
	Rdev         uint64 // of a device: major number << 32 | minor number
	Sparse       bool   // its holes are kept
	Resized      bool   // it shrank or grew while it was read, and was filled up with zeros or cut
	from, header int64  // where in the tar its member begins, and how much goes before its data
	stored       int64  // bytes of its data in the tar: other than Size if it is sparse

	position Position
}

// Position is where the record of an entry stands in the index of its archive: the number of the block and, in that, its own.
type Position struct{ Block, Record int }

// Position is where the entry's own record stands: of a hard link that was followed, that of what it links to.
func (e *Indexed) Position() Position { return e.position }

// Stored is how many bytes of data the archive has of a file, without what is a hole.
func (e *Indexed) Stored() int64 { return e.stored }

// end is where its data end in the tar.
func (e *Indexed) end() int64 { return e.from + e.header + e.stored }

// entryRecord is an entry in an index block.
type entryRecord struct {
	_        struct{} `cbor:",toarray"`
	Shared   uint32   // bytes at the beginning of its path that are those of the path before it, in the same block
	Rest     []byte   // of the path, after these
	Kind     Kind
	Flags    entryFlags
	Mode     uint32
	UID, GID uint32
	Size     int64
	MTime    int64 // seconds, and the nanoseconds after them
	MTimeNS  uint32
	CTime    int64
	CTimeNS  uint32
	BTime    int64
	BTimeNS  uint32
	Device   uint64
	Inode    uint64
	Rdev     uint64
	From     int64
	Header   int64
	Stored   int64
	Link     []byte
}

// entryFlags are facts of an entry. Others than these are refused.
type entryFlags uint8

const (
	flagSparse entryFlags = 1 << iota
	flagResized
	allFlags = flagSparse | flagResized
)

func (d device) number() uint64 { return uint64(d.major)<<32 | uint64(d.minor) }

// set takes over all of a member but its path.
func (r *entryRecord) set(m *member) {
	*r = entryRecord{
		Kind: m.Kind, Mode: m.Mode, UID: m.UID, GID: m.GID, Size: m.Size,
		MTime: m.ModTime.Unix(), MTimeNS: uint32(m.ModTime.Nanosecond()),
		CTime: m.seen.changed.sec, CTimeNS: m.seen.changed.ns,
		BTime: m.seen.born.sec, BTimeNS: m.seen.born.ns,
		Device: m.seen.device.number(), Inode: m.seen.inode, Rdev: device{m.major, m.minor}.number(),
		From: m.from, Header: m.data - m.from, Stored: m.stored, Link: []byte(m.Linkname),
	}
	if m.sparse {
		r.Flags |= flagSparse
	}
	if m.resized {
		r.Flags |= flagResized
	}
}

// entry gives the entry of a record that comes after another one in its block, or first with no path before it. It checks all that the
// rest of the package relies on; tar is how long the tar is.
func (r *entryRecord) entry(before string, tar int64) (*Indexed, error) {
	if int(r.Shared) > len(before) || int(r.Shared)+len(r.Rest) > maxRecords {
		return nil, errors.New("read entry index: a path out of bounds")
	}
	name := before[:r.Shared] + string(r.Rest)
	if err := r.check(tar); err != nil {
		return nil, fmt.Errorf("read entry index: %.80q: %w", name, err)
	}
	m := member{Entry: Entry{
		Kind: r.Kind, Mode: r.Mode, UID: r.UID, GID: r.GID, Size: r.Size, ModTime: time.Unix(r.MTime, int64(r.MTimeNS)).UTC(),
	}}
	if err := m.names(name, string(r.Link)); err != nil {
		return nil, fmt.Errorf("read entry index: %.80q: %w", name, err)
	}
	if m.Path != name || m.Linkname != string(r.Link) {
		return nil, fmt.Errorf("read entry index: %.80q: written otherwise than it need be", name)
	}
	e := &Indexed{
		Entry: m.Entry, ChangeTime: time.Unix(r.CTime, int64(r.CTimeNS)).UTC(),
		Device: r.Device, Inode: r.Inode, Rdev: r.Rdev,
		Sparse: r.Flags&flagSparse != 0, Resized: r.Flags&flagResized != 0,
		from: r.From, header: r.Header, stored: r.Stored,
	}
	if r.BTime != 0 || r.BTimeNS != 0 {
		e.BirthTime = time.Unix(r.BTime, int64(r.BTimeNS)).UTC()
	}
	return e, nil
}

func (r *entryRecord) check(tar int64) error {
	switch {
	case r.Flags&^allFlags != 0:
		return fmt.Errorf("unknown flags %#x", r.Flags)
	case r.Mode > 0o7777 || r.MTimeNS >= 1e9 || r.CTimeNS >= 1e9 || r.BTimeNS >= 1e9:
		return errors.New("numbers out of bounds")
	case r.Size < 0 || r.Size > maxSize || r.Stored < 0 || r.Header < tarBlock || r.From < 0 ||
		r.From > tar || r.Header > tar-r.From || r.Stored > tar-r.From-r.Header:
		return errors.New("a place out of bounds")
	case r.Kind != File && (r.Size != 0 || r.Stored != 0 || r.Flags != 0):
		return fmt.Errorf("a %v with data", r.Kind)
	case r.Flags&flagSparse == 0 && r.Size != r.Stored:
		return fmt.Errorf("%d bytes, of which %d are there", r.Size, r.Stored)
	case r.Kind != Symlink && r.Kind != Hardlink && len(r.Link) > 0:
		return fmt.Errorf("a %v that links", r.Kind)
	}
	switch r.Kind {
	case File, Hardlink, Symlink, CharDevice, BlockDevice, Folder, Fifo:
		return nil
	}
	return fmt.Errorf("unknown type %v", r.Kind)
}

// ComparePaths compares paths in the order of the walk: component by component, a folder before what is in it, the root first.
func ComparePaths(a, b string) int {
	n := shared(a, b)
	switch {
	case a == b:
		return 0
	case a == "." || n == len(a):
		return -1
	case b == "." || n == len(b):
		return 1
	case a[n] == '/': // ends a component, and so goes before any byte that continues it
		return -1
	case b[n] == '/':
		return 1
	}
	return cmp.Compare(a[n], b[n])
}

// shared is how many bytes two paths have in common at their beginning.
func shared(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
