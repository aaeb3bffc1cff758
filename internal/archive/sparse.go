package archive

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"golang.org/x/sys/unix"
)

// A file with holes is kept as GNU sparse 1.0 (the GNU tar manual, "PAX Format, Version 1.0"): the records GNU.sparse.major=1,
// GNU.sparse.minor=0, GNU.sparse.name and GNU.sparse.realsize, and a map before the data, which is the number of segments and of each
// its offset and its size, each a decimal number with a newline, padded with zeros to a whole block. The segments' bytes follow it,
// with nothing between them. When the file ends with a hole the last segment is an empty one at its end.

// segment is a piece of a file that is no hole.
type segment struct{ at, size int64 }

func (s segment) end() int64 { return s.at + s.size }

// segments are all that is no hole in a file, in order and apart. Of a file without holes they are nil.
type segments []segment

// maxSegments bounds maps, and so the memory that writing and reading them takes.
const maxSegments = 1 << 16

// leastSparse is the size of the smallest file that is looked at for holes: holes are whole blocks, commonly of 4 KiB.
const leastSparse = 4 << 10

// holes finds the holes of an open file, if it has any. A stat tells of most files that they have not.
func holes(fd int, st *unix.Statx_t) (segments, error) {
	size := int64(st.Size)
	if size < leastSparse || st.Blocks >= uint64(size+511)/512 {
		return nil, nil
	}
	f := finder{most: maxSegments - 1} // and one for a hole at the end
	for at := int64(0); at < size; {
		from, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if err == unix.ENXIO { // nothing but a hole from here on
			break
		}
		if err == unix.EINVAL {
			return nil, nil // a file system that can't tell
		}
		if err != nil {
			return nil, fmt.Errorf("seek data: %w", err)
		}
		if at, err = unix.Seek(fd, from, unix.SEEK_HOLE); err == unix.ENXIO {
			break // cut off meanwhile
		} else if err != nil {
			return nil, fmt.Errorf("seek hole: %w", err)
		}
		if from >= size {
			break
		}
		f.add(segment{from, min(at, size) - from})
	}
	if len(f.found) == 1 && f.found[0] == (segment{0, size}) {
		return nil, nil
	}
	if f.found == nil {
		f.found = segments{}
	}
	return f.found, nil
}

// finder gathers segments, and gives up the smallest holes when there are too many.
type finder struct {
	found segments
	most  int
	least int64 // size of a hole that is kept
}

func (f *finder) add(s segment) {
	if last := len(f.found) - 1; last >= 0 && s.at-f.found[last].end() < f.least {
		f.found[last].size = s.end() - f.found[last].at
		return
	}
	f.found = append(f.found, s)
	for len(f.found) > f.most {
		f.least = max(2*f.least, leastSparse)
		all := f.found
		f.found = f.found[:0]
		for _, s := range all {
			f.add(s)
		}
	}
}

// stored is how many bytes of data a sparse file of such a size has in the tar.
func (all segments) stored(size int64) int64 {
	n := int64(len(all.text(size)))
	for _, s := range all {
		n += s.size
	}
	return n
}

// text is the map, with its padding.
func (all segments) text(size int64) []byte {
	if len(all) == 0 || all[len(all)-1].end() < size {
		all = append(all[:len(all):len(all)], segment{at: size})
	}
	text := append(strconv.AppendInt(nil, int64(len(all)), 10), '\n')
	for _, s := range all {
		text = append(strconv.AppendInt(text, s.at, 10), '\n')
		text = append(strconv.AppendInt(text, s.size, 10), '\n')
	}
	return append(text, make([]byte, padding(int64(len(text))))...)
}

// readMap reads the map of a file, by whole blocks, and makes sure that its segments are in order and apart, end within the file, and take
// up all of its stored bytes.
func readMap(size, stored int64, block func(dst []byte) error) (segments, error) {
	m := mapReader{left: stored, read: block}
	all, err := m.segments(size)
	if err != nil {
		return nil, fmt.Errorf("read the map of a sparse file: %w", err)
	}
	return all, nil
}

type mapReader struct {
	left  int64 // stored bytes that no block has been read of
	read  func(dst []byte) error
	block [tarBlock]byte
	rest  []byte // of block
}

func (m *mapReader) segments(size int64) (segments, error) {
	n, err := m.number()
	if err != nil {
		return nil, err
	}
	if n < 1 || n > maxSegments {
		return nil, fmt.Errorf("%d segments, at most %d are allowed", n, maxSegments)
	}
	all := segments{} // grows with what is really there
	end, data := int64(0), int64(0)
	for i := range n {
		var s segment
		if s.at, err = m.number(); err != nil {
			return nil, err
		}
		if s.size, err = m.number(); err != nil {
			return nil, err
		}
		if s.at < end || s.size > size-s.at || s.size == 0 && i < n-1 {
			return nil, fmt.Errorf("segment of %d bytes at %d, after %d of %d", s.size, s.at, end, size)
		}
		end, data = s.end(), data+s.size
		if s.size > 0 {
			all = append(all, s)
		}
	}
	if end != size || data != m.left {
		return nil, fmt.Errorf("%d bytes up to %d, of a file with %d bytes up to %d", data, end, m.left, size)
	}
	return all, nil
}

// number reads digits and a newline.
func (m *mapReader) number() (int64, error) {
	for n, some := int64(0), false; ; some = true {
		c, err := m.byte()
		switch {
		case err != nil:
			return 0, err
		case c == '\n' && some:
			return n, nil
		case c < '0' || c > '9' || n == 0 && some || n > math.MaxInt64/10-1:
			return 0, errors.New("no number where there is to be one")
		}
		n = 10*n + int64(c-'0')
	}
}

func (m *mapReader) byte() (byte, error) {
	if len(m.rest) == 0 {
		if m.left < tarBlock {
			return 0, errors.New("ends too early")
		}
		if err := m.read(m.block[:]); err != nil {
			return 0, err
		}
		m.left, m.rest = m.left-tarBlock, m.block[:]
	}
	c := m.rest[0]
	m.rest = m.rest[1:]
	return c, nil
}
