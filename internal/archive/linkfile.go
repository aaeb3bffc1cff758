package archive

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"os"
)

// linkFile is the part of a linkTable that is on disk: a hash table with open addressing, by buckets, and a log of the paths that its
// slots point to. The hash is seeded, so that no choice of inodes makes it slow.
//
// Probing for a key goes from its bucket on to the first one with a slot that was never used. That one exists because the
// table grows before it is three quarters full, counting slots that were used and are free again.
type linkFile struct {
	scratch string
	seed    maphash.Seed

	slots   *os.File // nil until something is put in
	buckets int64    // a power of two
	used    int64    // slots that are not as they were made
	live    int64    // of these, those that hold a file
	bucket  [bucketSize]byte

	paths *os.File
	end   int64 // of what has been written to paths
}

const (
	slotSize     = 48
	bucketSlots  = 64
	bucketSize   = slotSize * bucketSlots
	firstBuckets = 1 << 12
)

// slot is a slot's bytes: the inode in 32 bytes, how many names are left in 4, how long the path is in 4, and where it begins in 8.
// A slot that was never used is all zeros, and one that is free again has a path but no names left.
type slot []byte

func newSlot(key inode, left uint32, at int64, length int) slot {
	le := binary.LittleEndian
	s := make(slot, 0, slotSize)
	s = le.AppendUint32(s, key.major)
	s = le.AppendUint32(s, key.minor)
	s = le.AppendUint64(s, key.number)
	s = le.AppendUint64(s, uint64(key.birth.sec))
	s = le.AppendUint32(s, key.birth.ns)
	s = le.AppendUint32(s, left)
	s = le.AppendUint64(s, uint64(at))
	s = le.AppendUint32(s, uint32(length))
	return s[:slotSize]
}

func (s slot) key() inode {
	le := binary.LittleEndian
	return inode{le.Uint32(s), le.Uint32(s[4:]), le.Uint64(s[8:]), stamp{int64(le.Uint64(s[16:])), le.Uint32(s[24:])}}
}

func (s slot) left() uint32     { return binary.LittleEndian.Uint32(s[28:]) }
func (s slot) setLeft(n uint32) { binary.LittleEndian.PutUint32(s[28:], n) }
func (s slot) pathAt() int64    { return int64(binary.LittleEndian.Uint64(s[32:])) }
func (s slot) pathLen() int     { return int(binary.LittleEndian.Uint32(s[40:])) }
func (s slot) fresh() bool      { return s.pathLen() == 0 }

// seen counts a name of a file, and gives its first path, or "" when the file is not here.
func (f *linkFile) seen(key inode) (string, error) {
	if f.live == 0 {
		return "", nil
	}
	s, at, err := f.find(func(s slot) bool { return s.left() > 0 && s.key() == key }, key)
	if err != nil || s.fresh() {
		return "", err
	}
	path := make([]byte, s.pathLen())
	if _, err := f.paths.ReadAt(path, s.pathAt()); err != nil {
		return "", fmt.Errorf("read the first name of a hard link: %w", unexpected(err))
	}
	s.setLeft(s.left() - 1)
	if s.left() == 0 {
		f.live--
	}
	return string(path), f.put(s, at)
}

// add notes a file that is not here.
func (f *linkFile) add(key inode, path string, left uint32) error {
	if err := f.makeRoom(); err != nil {
		return err
	}
	if _, err := f.paths.WriteAt([]byte(path), f.end); err != nil {
		return fmt.Errorf("write the first name of a hard link: %w", err)
	}
	at := f.end
	f.end += int64(len(path))
	return f.insert(newSlot(key, left, at, len(path)))
}

func (f *linkFile) insert(s slot) error {
	old, at, err := f.find(func(s slot) bool { return s.left() == 0 }, s.key())
	if err != nil {
		return err
	}
	f.live++
	if old.fresh() {
		f.used++
	}
	return f.put(s, at)
}

// find looks from a key's bucket on for a slot, and gives the first that is wanted or fresh. It is valid until the next call.
func (f *linkFile) find(wanted func(slot) bool, key inode) (slot, int64, error) {
	home := int64(maphash.Comparable(f.seed, key) & uint64(f.buckets-1))
	for i := range f.buckets {
		at := (home + i) & (f.buckets - 1) * bucketSize
		if _, err := f.slots.ReadAt(f.bucket[:], at); err != nil {
			return nil, 0, fmt.Errorf("read the table of hard links: %w", unexpected(err))
		}
		for j := 0; j < bucketSize; j += slotSize {
			if s := slot(f.bucket[j : j+slotSize]); s.fresh() || wanted(s) {
				return s, at + int64(j), nil
			}
		}
	}
	return nil, 0, fmt.Errorf("table of hard links: full")
}

func (f *linkFile) put(s slot, at int64) error {
	if _, err := f.slots.WriteAt(s, at); err != nil {
		return fmt.Errorf("write the table of hard links: %w", err)
	}
	return nil
}

// makeRoom makes the table, or a new one in its place when it is three quarters full.
func (f *linkFile) makeRoom() (err error) {
	if f.slots == nil {
		f.seed = maphash.MakeSeed()
		if f.paths, err = ScratchFile(f.scratch); err != nil {
			return err
		}
		return f.makeTable()
	}
	if f.used < f.buckets*bucketSlots/4*3 {
		return nil
	}
	old, buckets := f.slots, f.buckets
	defer func() { _ = old.Close() }() // nothing in it is needed any more
	if f.live > f.used/2 {
		f.buckets *= 4
	}
	f.used, f.live = 0, 0
	if err := f.makeTable(); err != nil {
		return err
	}
	var bucket [bucketSize]byte
	for i := range buckets {
		if _, err := old.ReadAt(bucket[:], i*bucketSize); err != nil {
			return fmt.Errorf("read the table of hard links: %w", unexpected(err))
		}
		for j := 0; j < bucketSize; j += slotSize {
			s := slot(bucket[j : j+slotSize])
			if s.left() == 0 {
				continue
			}
			if err := f.insert(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeTable makes an empty table: a hole in a new file.
func (f *linkFile) makeTable() (err error) {
	if f.slots, err = ScratchFile(f.scratch); err != nil {
		return err
	}
	if err := f.slots.Truncate(f.buckets * bucketSize); err != nil {
		return fmt.Errorf("make the table of hard links: %w", err)
	}
	return nil
}

func (f *linkFile) close() {
	for _, file := range []*os.File{f.slots, f.paths} {
		if file != nil {
			_ = file.Close() // nothing in it is needed any more
		}
	}
}
