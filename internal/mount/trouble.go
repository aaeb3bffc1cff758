package mount

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/seal"
)

// What programs are told that ask for what there cannot be.
var (
	errNoFolder = errors.New("not a folder")
	errNoData   = errors.New("nothing beyond that")
)

// status is an error as programs get it. What is wrong with a snapshot, or with the way to it, is told in the log.
func (f *filesystem) status(ctx context.Context, err error) fuse.Status {
	switch {
	case err == nil:
		return fuse.OK
	case ctx.Err() != nil:
		return fuse.EINTR
	case errors.Is(err, seal.ErrLocked): // told when it could not be opened
		return fuse.EACCES
	case errors.Is(err, errNoFolder):
		return fuse.ENOTDIR
	case errors.Is(err, errNoData):
		return fuse.Status(unix.ENXIO)
	case errors.Is(err, fs.ErrInvalid):
		return fuse.EINVAL
	case errors.Is(err, fs.ErrNotExist) && !errors.Is(err, archive.ErrDamaged):
		return fuse.ENOENT
	}
	f.trouble.tell("a snapshot cannot be read", err)
	return fuse.EIO
}

// trouble is told once as long as it stays the same: programs ask again and again.
type trouble struct {
	log *slog.Logger

	mu   sync.Mutex
	last string
}

func (t *trouble) tell(what string, err error, facts ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if text := err.Error(); text != t.last {
		t.last = text
		t.log.Warn(what, append(facts, "err", err)...)
	}
}
