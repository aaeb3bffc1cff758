package archive

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// directory says what an archive holds and where its index blocks are. It is one CBOR map, in which keys that a reader does not know
// are left for later versions to use.
type directory struct {
	Leans  []lean      `cbor:"1,keyasint"` // the archives that slices may name beside this one, which is number 0; these count from 1
	Totals totals      `cbor:"2,keyasint"`
	Blocks []blockInfo `cbor:"3,keyasint"` // of the index, in the order in which they lie between data and directory, without gaps

	// Made is when and where the folder was looked at, if a later archive may rely on that.
	Made *moment `cbor:"4,keyasint,omitempty"`
}

// lean is another archive that data lie in.
type lean struct {
	_         struct{} `cbor:",toarray"`
	Name      []byte
	Size      int64
	Directory [sha256.Size]byte // digest of its directory, which vouches for all else in it
}

type totals struct {
	_       struct{} `cbor:",toarray"`
	Entries int64
	Bytes   int64 // of file data
	Tar     int64 // bytes of the tar
	Plain   int64 // of all data frames of this archive, uncompressed
	Frames  int64 // data frames
}

// blockInfo describes one index block.
type blockInfo struct {
	_      struct{} `cbor:",toarray"`
	Kind   tag
	Length int64 // of the whole section
	Plain  int64 // bytes of its records
	Digest [sha256.Size]byte
	Count  int64 // records

	// The first key. Of frames: offsets of the first in the plain and in the stored data. Of slices: offset of the first in the tar.
	// Of entries: the path of the first, cut after maxKey bytes.
	At     int64
	Stored int64
	Path   []byte

	place int64 // where in the archive it begins; not stored
}

const (
	blockTarget = 256 << 10 // plain bytes of records at which a block ends, except for the first
	maxBlock    = 4 << 20   // the most that a reader takes
	maxKey      = 1 << 10
	// leastBlockInfo is fewer bytes than any description of a block takes.
	leastBlockInfo = 40
	maxLeans       = 1 << 12
)

// parseDirectory reads a directory and checks all that later reading relies on.
func parseDirectory(plain []byte, c codec, t trailer) (*directory, error) {
	d := new(directory)
	rest, err := c.next(plain, d)
	if err != nil {
		return nil, fmt.Errorf("read directory: %w", unexpected(err))
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("read directory: %d bytes too many", len(rest))
	}
	if err := d.check(t); err != nil {
		return nil, fmt.Errorf("read directory: %w", err)
	}
	return d, nil
}

func (d *directory) check(t trailer) error {
	if err := d.Totals.check(); err != nil {
		return err
	}
	if len(d.Leans) > maxLeans {
		return fmt.Errorf("%d archives that it leans on", len(d.Leans))
	}
	for _, l := range d.Leans {
		if len(l.Name) == 0 || len(l.Name) > maxKey || l.Size < trailerSize {
			return fmt.Errorf("archive %.40q of %d bytes, that it leans on", l.Name, l.Size)
		}
	}
	if d.Made != nil {
		if err := d.Made.check(); err != nil {
			return err
		}
	}
	place := t.index
	for i := range d.Blocks {
		b := &d.Blocks[i]
		if err := b.check(t, &d.Totals); err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
		b.place = place
		place += b.Length // at most a section's length for each of the blocks in memory: no overflow
	}
	if place != t.directory {
		return errors.New("blocks that do not fill the index")
	}
	if d.count(entrySection) != d.Totals.Entries || d.count(frameSection) != d.Totals.Frames {
		return errors.New("blocks that do not have as many records as there are in all")
	}
	return d.checkOrder()
}

// count is how many records of a kind there are.
func (d *directory) count(kind tag) (n int64) {
	for i := range d.Blocks {
		if d.Blocks[i].Kind == kind {
			n += d.Blocks[i].Count
		}
	}
	return n
}

func (t *totals) check() error {
	for _, n := range [5]int64{t.Entries, t.Bytes, t.Tar, t.Plain, t.Frames} {
		if n < 0 || n > maxSize {
			return fmt.Errorf("a total of %d", n)
		}
	}
	return nil
}

func (b *blockInfo) check(t trailer, all *totals) error {
	switch {
	case b.Kind == directorySection || b.Kind == trailerSection:
		return fmt.Errorf("a second %v", b.Kind)
	case b.Length < sectionHeader || b.Length > maxSection+skippableHeader:
		return fmt.Errorf("%d bytes long", b.Length)
	case b.Plain <= 0 || b.Plain > maxBlock || b.Count <= 0 || b.Count > b.Plain/leastRecord(b.Kind):
		return fmt.Errorf("%d records of %d bytes", b.Count, b.Plain)
	case b.At < 0 || b.Stored < 0 || len(b.Path) > maxKey:
		return errors.New("a first key out of bounds")
	case b.Kind == frameSection && (b.At >= all.Plain || b.Stored >= t.index), b.Kind == sliceSection && b.At >= all.Tar:
		return errors.New("a first key beyond the end")
	}
	return nil
}

// leastRecord is fewer bytes than any record of a kind takes, so that a block can't have more records than it has room for.
func leastRecord(kind tag) int64 {
	switch kind {
	case frameSection:
		return 1 + 1 + 1 + 2 + sha256.Size
	case sliceSection:
		return 1 + 1 + 1 + 1
	case entrySection:
		return 1 + 22
	}
	return 1
}

// checkOrder checks that blocks of a kind are in the order of their first keys, which lets them be searched. What order those of
// unknown kinds have is not known either.
func (d *directory) checkOrder() error {
	last := make(map[tag]*blockInfo)
	for i := range d.Blocks {
		b := &d.Blocks[i]
		before := last[b.Kind]
		last[b.Kind] = b
		switch {
		case b.Kind != entrySection && b.Kind != frameSection && b.Kind != sliceSection:
		case before == nil && (b.At != 0 || b.Stored != 0):
			return fmt.Errorf("block %d: something is missing before it", i)
		case before != nil && !before.precedes(b):
			return fmt.Errorf("block %d: out of order", i)
		}
	}
	return nil
}

// precedes tells whether a block can come before another of its kind. Paths that were cut may be equal.
func (b *blockInfo) precedes(next *blockInfo) bool {
	switch b.Kind {
	case entrySection:
		return ComparePaths(string(b.Path), string(next.Path)) <= 0
	case frameSection:
		return b.At < next.At && b.Stored < next.Stored
	}
	return b.At < next.At
}

// of gives the blocks of one kind, in order.
func (d *directory) of(kind tag) []*blockInfo {
	var all []*blockInfo
	for i := range d.Blocks {
		if d.Blocks[i].Kind == kind {
			all = append(all, &d.Blocks[i])
		}
	}
	return all
}

// errMissing is io.ErrUnexpectedEOF said of an index that ends too early.
var errMissing = fmt.Errorf("something is missing: %w", io.ErrUnexpectedEOF)
