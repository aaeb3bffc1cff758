package remote

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/folder"
)

// failure is an error that has come over the wire: its words, and of what it wraps that which callers branch on.
type failure struct {
	Words string
	Errno syscall.Errno
	Known []int // indexes into known
}

func known() []error {
	return []error{archive.ErrDamaged, folder.ErrNothing, folder.ErrUnsettled, fs.ErrNotExist}
}

func newFailure(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{Words: err.Error()}
	_ = errors.As(err, &f.Errno) // 0 is none
	for i, one := range known() {
		if errors.Is(err, one) {
			f.Known = append(f.Known, i)
		}
	}
	return f
}

func (f *failure) Error() string { return f.Words }

func (f *failure) Unwrap() []error {
	var wrapped []error
	if f.Errno != 0 {
		wrapped = append(wrapped, f.Errno)
	}
	for _, i := range f.Known {
		if all := known(); i >= 0 && i < len(all) {
			wrapped = append(wrapped, all[i])
		}
	}
	return wrapped
}
