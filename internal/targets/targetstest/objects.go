package targetstest

import (
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/backupd/backupd/internal/targets"
)

// Random gives bytes for an object, which are the same for the same size.
func Random(size int) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(data) // never fails
	return data
}

// Read gives all of an object, or as much as there was before an error.
func Read(t testing.TB, s targets.Store, key string) ([]byte, error) {
	t.Helper()
	r, err := s.Get(t.Context(), key, 0, -1)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(r)
	return got, errors.Join(err, r.Close())
}
