package durable

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Keys are locks of any number of keys that share one file, so that keys which are gone leave nothing behind. Of those that two holders
// want, one of them has it at a time, in whichever process; the kernel unlocks them when the process dies.
//
// A key is a byte of the file by its hash (an open file description lock, fcntl(2)). Two keys of the same hash are one lock, so whoever waits
// for keys while holding others may wait for longer than it takes, and never for itself.
type Keys struct{ file *os.File }

// OpenKeys opens the file of the locks, which it makes if need be. None is held yet.
func OpenKeys(path string) (*Keys, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open locks: %w", err)
	}
	return &Keys{file}, nil
}

// Try takes the lock of a key, which may be this holder's already, or fails with ErrLocked.
func (k *Keys) Try(key string) error {
	err := k.set(unix.F_WRLCK, place(key), 1)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return ErrLocked
	}
	if err != nil {
		return fmt.Errorf("lock %q in %s: %w", key, k.file.Name(), err)
	}
	return nil
}

// Drop unlocks all that this holder has.
func (k *Keys) Drop() error {
	if err := k.set(unix.F_UNLCK, 0, 0); err != nil {
		return fmt.Errorf("unlock %s: %w", k.file.Name(), err)
	}
	return nil
}

// Close drops all, and ends the use of the locks.
func (k *Keys) Close() error { return errors.Join(k.Drop(), k.file.Close()) }

func (k *Keys) set(kind int16, start, length int64) error {
	lock := unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: start, Len: length}
	for {
		if err := unix.FcntlFlock(k.file.Fd(), unix.F_OFD_SETLK, &lock); err != unix.EINTR {
			return err
		}
	}
}

func place(key string) int64 {
	h := fnv.New64a()
	h.Write([]byte(key))
	return int64(h.Sum64() >> 2)
}
