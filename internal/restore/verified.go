package restore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"syscall"

	"github.com/backupd/backupd/internal/snapshot"
)

// ErrDamaged marks an archive that is not what the manifest says.
var ErrDamaged = errors.New("archive is damaged")

// verified reads an archive and never lets it end well unless its size and digest are those of the manifest.
type verified struct {
	from io.ReadCloser
	want snapshot.Archive
	sum  hash.Hash
	read int64
	err  error // that reading ended with
}

func newVerified(r io.ReadCloser, want snapshot.Archive) *verified {
	return &verified{from: r, want: want, sum: sha256.New()}
}

func (v *verified) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.from.Read(p)
	v.sum.Write(p[:n])
	v.read += int64(n)
	if errors.Is(err, io.EOF) || v.read > v.want.Size { // what grew without end would be read without end
		err = v.check()
	}
	v.err = err
	return n, err
}

func (v *verified) Close() error { return v.from.Close() }

func (v *verified) check() error {
	if v.read != v.want.Size {
		return fmt.Errorf("%w: it has %s bytes, and had %d when it was stored", ErrDamaged, v.size(), v.want.Size)
	}
	if got := hex.EncodeToString(v.sum.Sum(nil)); got != v.want.SHA256 {
		return fmt.Errorf("%w: its digest is %s, and was %s when it was stored", ErrDamaged, got, v.want.SHA256)
	}
	return io.EOF
}

func (v *verified) size() string {
	if v.read > v.want.Size {
		return "more"
	}
	return strconv.FormatInt(v.read, 10)
}

// explain says of an error that ended the use of the archive whether damage is behind it. An archive that makes no sense is read to
// its end for that; neither the kernel's refusals nor a cancelled context are the archive's fault.
func (v *verified) explain(ctx context.Context, err error) error {
	if errno := syscall.Errno(0); ctx.Err() != nil || errors.As(err, &errno) || errors.Is(err, ErrDamaged) {
		return err
	}
	if _, rest := io.Copy(io.Discard, v); errors.Is(rest, ErrDamaged) {
		return fmt.Errorf("%w (%w)", rest, err)
	}
	return err
}
