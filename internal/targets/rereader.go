package targets

import (
	"errors"
	"io"
)

// Rereader is a reader, given to Put, that can keep what was read from it, for longer and in larger pieces than fit in memory.
type Rereader interface {
	io.Reader

	// ReadAt reads what is kept, from several goroutines at once. Offsets count from the first byte that Read gave.
	io.ReaderAt

	// Keep has what is read from the offset on stay for ReadAt, and lets go of all before it; math.MaxInt64 keeps nothing, as at first.
	// Where there is no room to keep more, Read is ErrNoRoom until less is kept.
	Keep(from int64)

	// Awaited tells whether the source can go on only once more was read, or less is kept.
	Awaited() bool
}

// ErrNoRoom is what a Rereader has for whoever keeps so much that nothing more can come.
var ErrNoRoom = errors.New("what is kept leaves no room")
