package restore

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/backupd/backupd/internal/snapshot"
)

// ErrDamaged marks an archive that is not what the manifest says.
var ErrDamaged = errors.New("archive is damaged")

// verified reads an archive and never lets it end well unless its size and digest are those of the manifest.
type verified struct {
	io.ReadCloser
	want snapshot.Archive
	sum  hash.Hash
	read int64
}

func newVerified(r io.ReadCloser, want snapshot.Archive) *verified {
	return &verified{ReadCloser: r, want: want, sum: sha256.New()}
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	v.sum.Write(p[:n])
	v.read += int64(n)
	if errors.Is(err, io.EOF) {
		err = v.check()
	}
	return n, err
}

func (v *verified) check() error {
	if v.read != v.want.Size {
		return fmt.Errorf("%w: it has %d bytes, and had %d when it was stored", ErrDamaged, v.read, v.want.Size)
	}
	if got := hex.EncodeToString(v.sum.Sum(nil)); got != v.want.SHA256 {
		return fmt.Errorf("%w: its digest is %s, and was %s when it was stored", ErrDamaged, got, v.want.SHA256)
	}
	return io.EOF
}
