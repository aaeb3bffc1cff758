package durable

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked marks a lock that somebody else holds.
var ErrLocked = errors.New("locked")

// Lock is a lock that this process holds. The kernel lets go of it when the process dies, however it dies, and programs that
// the process starts do not inherit it.
//
// The file stays when the lock is let go: removing it would let two holders in, one with the old file and one with a new one.
type Lock struct{ file *os.File }

// TryLock takes the lock of the file at path, which it makes if need be, or fails with ErrLocked at once, also when the
// holder is this same process. The file holds the holder's process id, for people to read.
func TryLock(path string) (*Lock, error) { return tryLock(path, unix.LOCK_EX) }

func tryLock(path string, how int) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := flock(file, how|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("%w by %s", ErrLocked, holder(file))
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	sign(file)
	return &Lock{file}, nil
}

// ShareLock takes the lock together with all others who share it, and waits until nobody has it alone, or ctx ends.
func ShareLock(ctx context.Context, path string) (*Lock, error) { return wait(ctx, path, unix.LOCK_SH) }

// LockWait is TryLock that waits for its turn until ctx ends.
func LockWait(ctx context.Context, path string) (*Lock, error) { return wait(ctx, path, unix.LOCK_EX) }

func wait(ctx context.Context, path string, how int) (*Lock, error) {
	// The kernel's own waiting cannot be called off, hence asking again; nobody notices a tenth of a second.
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		l, err := tryLock(path, how)
		if !errors.Is(err, ErrLocked) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// Unlock lets go of the lock.
func (l *Lock) Unlock() error {
	// Closing alone would not do while a child that is being started has a copy of the descriptor until it has executed.
	if err := errors.Join(flock(l.file, unix.LOCK_UN), l.file.Close()); err != nil {
		return fmt.Errorf("unlock %s: %w", l.file.Name(), err)
	}
	return nil
}

// sign leaves the process id for people to read. On a full disk there is none, and the lock holds all the same: what has to be
// mended in that state needs locks too.
func sign(file *os.File) {
	if file.Truncate(0) == nil {
		_, _ = file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
}

// holder reads who holds the lock. What is in the file is only believed to be a number: it may be empty for a moment, or stem
// from another process namespace.
func holder(file *os.File) string {
	var text [20]byte
	n, _ := file.ReadAt(text[:], 0) // io.EOF as a rule; with any other error there is no number in it
	pid, err := strconv.ParseUint(strings.TrimSpace(string(text[:n])), 10, 31)
	if err != nil {
		return "another process"
	}
	return fmt.Sprintf("process %d", pid)
}

func flock(file *os.File, how int) error {
	for {
		if err := unix.Flock(int(file.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}
