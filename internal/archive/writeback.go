package archive

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// WriteBack has the data written to disk that Take would clone from a folder, since cloning waits for that; with a Clock those of all files,
// which Take would wait for. It leaves all else that is dirty
// alone: syncfs(2) makes whoever else waits for the disk wait for all of it. It also brings into memory what Take is going to look at.
func WriteBack(ctx context.Context, dir string, o Options) error {
	exclude, err := parseGlobs(o.Exclude)
	if err != nil {
		return fmt.Errorf("exclude: %w", err)
	}
	walk := newWalker(o.Scratch)
	walk.exclude, walk.out = exclude, &flusher{all: o.Clock != nil}
	if err := walk.archive(ctx, dir); err != nil {
		return fmt.Errorf("write back %s: %w", dir, err)
	}
	return nil
}

// flusher is an output that has files written to disk, and forgets the tar.
type flusher struct {
	tar int64
	all bool // also of small files
}

func (f *flusher) size() int64 { return f.tar }

func (f *flusher) write(_ context.Context, data []byte) error {
	f.tar += int64(len(data))
	return nil
}

func (f *flusher) zeros(_ context.Context, n int64) error {
	f.tar += n
	return nil
}

func (f *flusher) lean(context.Context, []sliceRecord) error { return nil } // nothing is reused

func (f *flusher) source(fd int, size int64) source {
	if f.all || size >= cloneFrom {
		const wait = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
		_ = unix.SyncFileRange(fd, 0, 0, wait) // what it does not write, cloning does
	}
	return source{fd: fd}
}

func (f *flusher) segment(_ context.Context, _ source, s segment, _ int64) (resized bool, err error) {
	f.tar += s.size
	return false, nil
}
