// Package targets says what a place for backups is: keys and bytes, nothing else.
//
// The implementations are in packages below this one; all pass the suite in targetstest. What the keys mean is package
// snapshot's to know.
package targets

import (
	"context"
	"io"
	"iter"
	"time"
)

// Store keeps objects under keys. A key is one or more path segments joined by "/", none of them empty, "." or ".."; what is none
// is an error for which errors.Is(err, fs.ErrInvalid) holds (CheckKey).
//
// Every method may be called from several goroutines at once. An object that is not there is an error for which
// errors.Is(err, fs.ErrNotExist) holds. Retrying what may pass by itself is the store's affair: an error is final.
type Store interface {
	// Put stores all of r under key. It is all or nothing, also when r fails or ctx ends: the key exists only once
	// Put has returned nil, and is then durable. It never replaces: a key that exists already is fs.ErrExist, at
	// the latest when r has been read. A Read of r that blocks when ctx ends is for the caller to end.
	Put(ctx context.Context, key string, r io.Reader) error

	// Get reads n bytes from the offset off, or all from there on when n is negative. Reading beyond the end of the
	// object gives what there is; an object that is cut off on the way is io.ErrUnexpectedEOF, never a quiet end.
	Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)

	// List gives the objects whose keys begin with prefix, which is empty or ends with "/", sorted by key. Objects
	// that were put or deleted while it runs may be there or not. The sequence ends at the first error.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]

	// Delete removes the object. Its absence is no error. One that the place where it lies does not let go is Kept, and stays as
	// it is.
	Delete(ctx context.Context, key string) error
}

// Kept is the error that an object stays because the place where it lies wants it so: it is locked until some time, or whoever asks may
// add and not remove. Such places are chosen for that, so for retention it is an answer and no failure.
type Kept struct{ Why string }

func (k Kept) Error() string { return "kept: " + k.Why }

// Abandoner is a Store in which a Put that was killed leaves bytes behind that no listing shows.
type Abandoner interface {
	// Abandon gives up whatever Put has not ended under the prefix, of the keys that are mine, and tells how many there were. Who calls it
	// knows that nobody is putting anything there. Kept says that it may not look for them.
	Abandon(ctx context.Context, prefix string, mine func(key string) bool) (int, error)
}

// Extender is a Store that keeps objects from being removed for some time after they were put (see Kept).
type Extender interface {
	// Extend has an object that is there kept for as long as one that is put now. It never shortens that.
	Extend(ctx context.Context, key string) error
}

// Keeper is a Store that can say beforehand what Delete would not let go.
type Keeper interface {
	// Kept is an error that is Kept when the object would stay now, and nil when nothing is known to keep it.
	Kept(ctx context.Context, key string) error
}

// Object is what a listing tells of one object.
type Object struct {
	Key      string
	Size     int64     // bytes
	Modified time.Time // when it was put, by the store's clock
}

// Drafter is a Store whose objects can be read while they are being written, by whoever writes them.
type Drafter interface {
	// Draft begins an object. It fails as Put would, and with an error for which errors.Is(err, errors.ErrUnsupported) holds where
	// writing takes longer than it does to a disk of this host.
	Draft(ctx context.Context, key string) (Draft, error)
}

// Draft is an object in the making. Its bytes can be read by several goroutines at once, while it is written and until it is closed.
type Draft interface {
	io.Writer
	io.ReaderAt

	// Commit is the end of what Put does: the key exists only once it has returned nil. Nothing is written after it.
	Commit(ctx context.Context) error

	// Close ends the use of the draft. Of one that was not committed nothing is left.
	Close() error
}
