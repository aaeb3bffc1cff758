package targets

import (
	"context"
	"io"
)

// Fill reads until buf is full or r has ended, which is io.EOF, or ctx has. It is not io.ReadFull, whose error for an early end could not
// be told from an r that was itself cut off.
func Fill(ctx context.Context, r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		if ctx.Err() != nil {
			return n, context.Cause(ctx)
		}
		var more int
		more, err = r.Read(buf[n:])
		n += more
	}
	if n == len(buf) && err == io.EOF {
		err = nil // for the next call
	}
	return n, err
}
