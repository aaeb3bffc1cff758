package archive

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// What proves that nothing moved while a folder was read: before each file is read, writes in flight are waited for and its dirty pages are
// written back, so that the next store to them, also one through a mapping, moves the inode's ctime; and when all has been read, a second
// look at everything finds no ctime later than some time before the first. A ctime is set when a write begins, and may be as coarse as
// a tick; what began long before and still went on has been waited for. Names that come and go move the ctime of their folder.

// unsettled is how long before the first look a change counts as one in between.
const unsettled = 30 * time.Second

// proofs are the file systems that are known to keep these rules. tmpfs does not: stores through a mapping move no times there.
var proofs = []int64{unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC}

// errNotStill says that a second look found what may have changed since the first.
var errNotStill = errors.New("something may have moved")

// settle waits for buffered writes to a file that are under way, which a seek for a hole does, and has its dirty pages written back.
func settle(fd int) error {
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	if _, err := unix.Seek(fd, 0, unix.SEEK_HOLE); err != nil && err != unix.ENXIO { // an empty file has none
		return err
	}
	return retry(func() error { return unix.SyncFileRange(fd, 0, 0, all) })
}

// still takes the second look at a folder that was read since a time, and tells whether nothing moved.
func still(ctx context.Context, dir string, exclude globs, o Options, began time.Time) (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return false, err
	}
	known := false
	for _, magic := range proofs {
		known = known || int64(fs.Type) == magic
	}
	if !known {
		return false, nil
	}
	latest := began.Add(-unsettled)
	w := newWalker(o.Scratch)
	w.exclude, w.out = exclude, nowhere{}
	w.note = func(m *member) error {
		if !time.Unix(m.seen.changed.sec, int64(m.seen.changed.ns)).Before(latest) {
			return errNotStill
		}
		return nil
	}
	err := w.archive(ctx, dir)
	if errors.Is(err, errNotStill) {
		return false, nil
	}
	return err == nil && w.sum.Vanished == 0 && !jumped(began, o.Clock()), err
}

// jumped tells whether the clock was set between two times that it gave.
func jumped(from, to time.Time) bool {
	const slewed = time.Second // by which a clock may be corrected slowly
	drift := to.Round(0).Sub(from.Round(0)) - to.Sub(from)
	return drift.Abs() > slewed
}

// nowhere is the output of a walk that only looks.
type nowhere struct{}

func (nowhere) size() int64                         { return 0 }
func (nowhere) write(context.Context, []byte) error { return nil }
func (nowhere) zeros(context.Context, int64) error  { return nil }
func (nowhere) source(int, int64) source            { return source{} }
func (nowhere) segment(context.Context, source, segment, int64) (resized bool, err error) {
	return false, nil
}
