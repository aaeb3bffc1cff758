package targets

import (
	"context"
	"fmt"
	"io"
	"os"
)

// Reading reads an object, and reads on where what its bytes come from breaks off: an answer, or the output of a process. It keeps Ctx, as Body
// does.
type Reading struct {
	Ctx      context.Context
	Off, End int64         // of what is yet to be read
	Body     io.ReadCloser // gives what is there from Off on, or the beginning of that; nil when there is nothing to read

	// Again gives what is there from an offset on, after Body has failed, so many times since the last byte. An error of it is final.
	Again    func(off int64, failed int, failure error) (io.ReadCloser, error)
	Attempts int                   // at most, since the last byte
	Wrap     func(err error) error // says what was attempted on which thing

	failed int
	err    error // for good
}

// Read ends before End with an error only.
func (r *Reading) Read(p []byte) (int, error) {
	for {
		switch {
		case r.Off == r.End:
			return 0, io.EOF
		case r.err != nil:
			return 0, r.err
		case r.Body == nil:
			return 0, os.ErrClosed
		}
		n, err := r.Body.Read(p[:min(int64(len(p)), r.End-r.Off)])
		r.Off += int64(n)
		if n > 0 {
			r.failed = 0
		}
		if n > 0 || err == nil {
			return n, nil // an error comes again, or does no harm
		}
		if err := r.resume(err); err != nil {
			r.err = r.Wrap(err)
		}
	}
}

func (r *Reading) resume(failure error) error {
	_ = r.Close() // what it was cut off with is of no interest any more
	if r.Ctx.Err() != nil {
		return context.Cause(r.Ctx)
	}
	if r.failed++; r.failed == r.Attempts {
		return fmt.Errorf("%w: it ends %d bytes too early (%w), %d times in a row", io.ErrUnexpectedEOF, r.End-r.Off, failure, r.failed)
	}
	body, err := r.Again(r.Off, r.failed, failure)
	if err != nil {
		return err
	}
	r.Body = body
	return nil
}

// Close ends the use of what the bytes come from. All that was read is sound, whatever it says.
func (r *Reading) Close() error {
	if r.Body == nil {
		return nil
	}
	err := r.Body.Close()
	r.Body = nil
	return err
}
