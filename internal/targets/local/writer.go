package local

import (
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	window = 8 << 20  // bytes that are sent to the disk at a time
	lag    = 64 << 20 // bytes that the disk may be behind
)

// writer sends what it writes on to the disk as it goes, so that the final fsync is not one big stall, and drops it from the page cache
// once the disk has it: an archive is not read soon, and should not push out what a database needs. It never waits for the disk, since
// somebody's containers may hold still meanwhile.
type writer struct {
	f         *os.File
	off, sent int64
	dropped   atomic.Int64
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.off += int64(n)
	if w.off-w.sent >= window {
		w.send()
	}
	return n, err
}

// send is advice: errors of the disk are told by the final fsync, and what is not on the disk yet is not dropped.
func (w *writer) send() {
	_ = unix.SyncFileRange(int(w.f.Fd()), w.sent, w.off-w.sent, unix.SYNC_FILE_RANGE_WRITE)
	w.sent = w.off
	if until := w.sent - lag; until > w.dropped.Load() {
		w.drop(w.dropped.Load(), until)
		w.dropped.Store(until)
	}
}

// ReadAt leaves nothing in the page cache that was dropped from it before.
func (w *writer) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.f.ReadAt(p, off)
	if until := off + int64(n); until <= w.dropped.Load() {
		w.drop(off, until)
	}
	return n, err
}

func (w *writer) drop(from, until int64) {
	if until > from {
		_ = unix.Fadvise(int(w.f.Fd()), from, until-from, unix.FADV_DONTNEED)
	}
}
