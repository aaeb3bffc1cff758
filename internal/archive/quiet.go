package archive

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// quietReader reads files and leaves the page cache as it was: what was there stays, and what was not does not come in.
//
// Since Linux 6.14 a read can ask for that (preadv2(2), RWF_DONTCACHE), on the file systems that implement it. Elsewhere what was
// there is looked at before each read, and what was not is dropped after it.
type quietReader struct {
	byHand bool // the first read that asked was told that it may not
}

// readAt reads at least so many bytes at an offset into p, or until the file ends.
func (q *quietReader) readAt(fd int, p []byte, least int, at int64) (n int, err error) {
	if !q.byHand {
		n, err = readAtLeast(p, least, func(p []byte, done int) (int, error) {
			return unix.Preadv2(fd, [][]byte{p}, at+int64(done), unix.RWF_DONTCACHE)
		})
		if err != unix.EOPNOTSUPP && err != unix.ENOSYS {
			return n, err
		}
		q.byHand = true
	}
	whole := at == 0 && least < len(p)
	r := residencyOf(fd, at, least, whole)
	n, err = readAtLeast(p, least, func(p []byte, done int) (int, error) {
		return unix.Pread(fd, p, at+int64(done))
	})
	r.dropOthers(fd)
	return n, err
}

// quietWriter writes files and lets go of what is on disk, so that restoring a volume pushes nothing out of the page cache that others
// use, and memory does not fill with what is yet to be written (pwritev2(2), RWF_DONTCACHE). Elsewhere it writes as everybody does.
type quietWriter struct {
	loud bool // the first write that asked was told that it may not
}

// quietLeast is how many bytes are worth a way to the disk of their own.
const quietLeast = 256 << 10

// writeAt writes all of p at an offset.
func (q *quietWriter) writeAt(fd int, p []byte, at int64) error {
	if !q.loud && len(p) >= quietLeast {
		n, err := writeFull(p, func(p []byte, done int) (int, error) {
			return unix.Pwritev2(fd, [][]byte{p}, at+int64(done), unix.RWF_DONTCACHE)
		})
		if err != unix.EOPNOTSUPP && err != unix.ENOSYS {
			return err
		}
		q.loud, p, at = true, p[n:], at+int64(n)
	}
	return writeFullAt(fd, p, at)
}

// readAtLeast reads at least so many bytes into p, or until the file ends. read is told how many there are already.
func readAtLeast(p []byte, least int, read func(p []byte, done int) (int, error)) (n int, err error) {
	for n < least {
		var got int
		err := retry(func() (err error) {
			got, err = read(p[n:], n)
			return err
		})
		if err != nil || got == 0 {
			return n, err
		}
		n += got
	}
	return n, nil
}

// residency says which pages of a part of a file are in memory.
type residency struct {
	from  int64 // offset of the first page
	pages []byte
	all   bool
}

// residencyOf asks for a part of a file. That nothing is known counts as all of it being there: then nothing is dropped.
//
// A read that brings in the whole file has nothing to read ahead; for others that is turned off, since it would bring in what nobody has
// looked at.
func residencyOf(fd int, at int64, size int, whole bool) residency {
	page := int64(unix.Getpagesize())
	r := residency{from: at &^ (page - 1)}
	length := (at + int64(size) - r.from + page - 1) &^ (page - 1)
	if !whole && unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM) != nil {
		return residency{all: true}
	}
	var cached unix.Cachestat_t
	err := unix.Cachestat(uint(fd), &unix.CachestatRange{Off: uint64(r.from), Len: uint64(length)}, &cached, 0)
	if err == nil && cached.Cache == 0 { // since Linux 6.5; most files are there or not, as a whole
		r.pages = make([]byte, length/page)
		return r
	}
	if err == nil && cached.Cache >= uint64(length/page) {
		return residency{all: true}
	}
	mapped, err := unix.Mmap(fd, r.from, int(length), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return residency{all: true}
	}
	r.pages = make([]byte, length/page)
	if mincore(mapped, r.pages) != nil {
		r.all = true
	}
	if unix.Munmap(mapped) != nil {
		r.all = true
	}
	return r
}

// dropOthers drops the pages that were not in memory.
func (r residency) dropOthers(fd int) {
	if r.all {
		return
	}
	page := int64(unix.Getpagesize())
	for i := 0; i < len(r.pages); {
		if r.pages[i]&1 != 0 {
			i++
			continue
		}
		first := i
		for i < len(r.pages) && r.pages[i]&1 == 0 {
			i++
		}
		// It is only advice, so what becomes of it is nothing to tell.
		_ = unix.Fadvise(fd, r.from+int64(first)*page, int64(i-first)*page, unix.FADV_DONTNEED)
	}
}

// mincore is mincore(2): of each page of a mapping, whether it is in memory.
func mincore(mapped, pages []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(unsafe.SliceData(mapped))),
		uintptr(len(mapped)), uintptr(unsafe.Pointer(unsafe.SliceData(pages))))
	if errno != 0 {
		return errno
	}
	return nil
}
