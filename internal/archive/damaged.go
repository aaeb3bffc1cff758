package archive

import (
	"errors"
	"fmt"
	"io"
)

// ErrDamaged marks what is wrong with an archive itself: it is not what was written, or not all of it is there.
var ErrDamaged = errors.New("archive is damaged")

// damaged marks an error that came of what an archive holds. That of a Source says nothing of the archive, and io.EOF is no error.
func damaged(err error) error {
	if _, unread := errors.AsType[*SourceError](err); unread || err == nil || err == io.EOF || errors.Is(err, ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// damagedError is why an entry cannot be restored, when damage is to be passed over.
type damagedError struct{ err error }

func (e *damagedError) Error() string { return e.err.Error() }
func (e *damagedError) Unwrap() error { return e.err }
