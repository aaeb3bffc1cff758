package archive

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// dirent is a name in a folder, with the type that the folder says it has: DT_UNKNOWN on some file systems.
type dirent struct {
	name string
	kind byte
}

// lister reads folders and gives their names sorted, however many there are: those that memory is not to hold go to a scratch file in
// sorted runs, which are merged as they are read. Folders are closed in the reverse of the order in which they were read, so the file is
// a stack.
type lister struct {
	scratch string // folder for the file
	most    int    // bytes of names in memory, while they are read, and once more of all folders that are open

	file  *os.File // made when it is needed
	end   int64    // of what is in use of it
	held  int      // bytes in memory of all open folders
	dents []byte   // to read into
	list  []byte   // records of names that have been read and are in no run yet
	at    []uint32 // where in list they begin
}

const (
	namesMemory  = 4 << 20
	direntBuffer = 64 << 10
	runBuffer    = 32 << 10
	// A record is the type, the name's length in two bytes, and the name.
	nameRecord = 3
)

// names are those of one folder that are still to be taken: none before it is read.
type names struct {
	from *lister
	runs runs
	mark int64  // where the scratch file ended before
	held int    // bytes in memory
	last string // that was taken
}

// read reads an open folder. One that is removed meanwhile is empty.
//
// The calls of os and unix for this either lose the type or look the name up by path; the type saves a system call per file.
func (l *lister) read(fd int, n *names) error {
	if l.dents == nil {
		l.dents = make([]byte, direntBuffer)
	}
	n.from, n.mark = l, l.end
	l.list, l.at = l.list[:0], l.at[:0]
	for {
		var got int
		err := retry(func() (err error) {
			got, err = unix.Getdents(fd, l.dents)
			return err
		})
		if err == unix.ENOENT {
			n.close()
			return nil
		}
		if err != nil {
			return err
		}
		if got == 0 {
			return n.settle()
		}
		if len(l.list)+got > l.most {
			if err := n.spill(); err != nil {
				return err
			}
		}
		l.add(l.dents[:got])
	}
}

// add parses linux_dirent64 records (getdents64(2)): inode and offset of 8 bytes each, length of 2, type of 1, name up to a zero byte.
func (l *lister) add(buf []byte) {
	const lengthAt, typeAt, nameAt = 16, 18, 19
	for len(buf) > nameAt {
		length := int(binary.NativeEndian.Uint16(buf[lengthAt:]))
		if length <= nameAt || length > len(buf) {
			break
		}
		name, _, _ := bytes.Cut(buf[nameAt:length], []byte{0})
		if s := string(name); s != "." && s != ".." && s != "" {
			l.at = append(l.at, uint32(len(l.list)))
			l.list = append(l.list, buf[typeAt], byte(len(name)), byte(len(name)>>8))
			l.list = append(l.list, name...)
		}
		buf = buf[length:]
	}
}

// recordAt gives the record that begins at an offset of a list, and its name.
func recordAt(list []byte, at uint32) (whole, name []byte) {
	r := list[at:]
	size := nameRecord + int(binary.LittleEndian.Uint16(r[1:]))
	return r[:size], r[nameRecord:size]
}

// sorted calls each with every record of the list, in order, and empties it.
func (l *lister) sorted(each func(record []byte) error) error {
	slices.SortFunc(l.at, func(a, b uint32) int {
		_, x := recordAt(l.list, a)
		_, y := recordAt(l.list, b)
		return bytes.Compare(x, y)
	})
	for _, at := range l.at {
		whole, _ := recordAt(l.list, at)
		if err := each(whole); err != nil {
			return err
		}
	}
	l.list, l.at = l.list[:0], l.at[:0]
	return nil
}

// settle ends the reading of a folder.
func (n *names) settle() error {
	l := n.from
	if len(n.runs) > 0 || l.held+len(l.list) > l.most {
		if err := n.spill(); err != nil {
			return err
		}
	} else if len(l.list) > 0 {
		buf := make([]byte, 0, len(l.list))
		err := l.sorted(func(record []byte) error {
			buf = append(buf, record...)
			return nil
		})
		if err != nil {
			return err
		}
		n.runs = append(n.runs, &run{buf: buf})
		n.hold(len(buf))
	}
	for _, r := range n.runs {
		if err := r.advance(l.file); err != nil { // a run is never empty
			return err
		}
	}
	heap.Init(&n.runs)
	return nil
}

// spill puts the names that have been read so far into a run of the scratch file.
func (n *names) spill() (err error) {
	l := n.from
	if len(l.list) == 0 {
		return nil
	}
	if l.file == nil {
		if l.file, err = ScratchFile(l.scratch); err != nil {
			return err
		}
	}
	r := &run{from: l.end, to: l.end + int64(len(l.list))}
	w := bufio.NewWriterSize(io.NewOffsetWriter(l.file, l.end), runBuffer)
	err = l.sorted(func(record []byte) error {
		_, err := w.Write(record)
		return err
	})
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		return fmt.Errorf("write names to a scratch file: %w", err)
	}
	l.end = r.to
	n.runs = append(n.runs, r)
	n.hold(int(min(runBuffer, r.to-r.from)))
	return nil
}

func (n *names) hold(size int) {
	n.held += size
	n.from.held += size
}

// next gives the next name, and false after the last. A name that a folder gave twice, because it changed meanwhile, comes once.
func (n *names) next() (dirent, bool, error) {
	for len(n.runs) > 0 {
		r := n.runs[0]
		d := dirent{string(r.name), r.kind}
		switch err := r.advance(n.from.file); err {
		case nil:
			heap.Fix(&n.runs, 0)
		case io.EOF:
			heap.Pop(&n.runs)
		default:
			return dirent{}, false, fmt.Errorf("read names from a scratch file: %w", err)
		}
		if d.name != n.last {
			n.last = d.name
			return d, true, nil
		}
	}
	return dirent{}, false, nil
}

// close gives back what the names take. It is the last folder read that must be closed first.
func (n *names) close() {
	if n.from == nil {
		return // never read
	}
	n.from.held -= n.held
	n.from.end = n.mark
	n.held, n.runs = 0, nil
}

// close gives the scratch file back.
func (l *lister) close() {
	if l.file != nil {
		_ = l.file.Close() // nothing in it is needed any more
	}
}

// run is sorted records, in memory or on their way there.
type run struct {
	buf      []byte // read, and not taken yet
	from, to int64  // where in the scratch file the rest is
	whole    []byte // the buffer that buf is a part of
	name     []byte // of the record at hand, valid until the next
	kind     byte
}

// advance makes the next record the one at hand; io.EOF says that there is none.
func (r *run) advance(file *os.File) error {
	if err := r.have(nameRecord, file); err != nil {
		return err
	}
	size := nameRecord + int(binary.LittleEndian.Uint16(r.buf[1:]))
	if err := r.have(size, file); err != nil {
		return err
	}
	r.kind, r.name = r.buf[0], r.buf[nameRecord:size]
	r.buf = r.buf[size:]
	return nil
}

// have makes buf hold at least n bytes.
func (r *run) have(n int, file *os.File) error {
	if len(r.buf) >= n {
		return nil
	}
	if r.from == r.to {
		return io.EOF
	}
	size := max(n, int(min(runBuffer, int64(len(r.buf))+r.to-r.from)))
	if len(r.whole) < size {
		r.whole = append(make([]byte, 0, size), r.buf...)[:size]
	} else {
		copy(r.whole, r.buf)
	}
	fill := r.whole[len(r.buf):]
	fill = fill[:min(int64(len(fill)), r.to-r.from)]
	if _, err := file.ReadAt(fill, r.from); err != nil {
		return unexpected(err)
	}
	r.from += int64(len(fill))
	r.buf = r.whole[:len(r.buf)+len(fill)]
	return nil
}

// runs is a heap, with the run on top that has the least name at hand.
type runs []*run

func (r runs) Len() int           { return len(r) }
func (r runs) Less(i, j int) bool { return bytes.Compare(r[i].name, r[j].name) < 0 }
func (r runs) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *runs) Push(x any)        { *r = append(*r, x.(*run)) }
func (r *runs) Pop() any {
	last := (*r)[len(*r)-1]
	*r = (*r)[:len(*r)-1]
	return last
}
