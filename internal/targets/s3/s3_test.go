package s3

import (
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/targets/targetstest"
)

func open(t *testing.T, u *url.URL) *Store {
	t.Helper()
	s, err := Open(t.Context(), u, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	server := s3test.Start(t)
	var n atomic.Int32
	targetstest.Run(t, func(t *testing.T) targets.Store {
		bucket := fmt.Sprintf("bucket-%d", n.Add(1))
		t.Cleanup(func() { server.WantNoUploads(bucket) })
		return open(t, server.Bucket(bucket))
	})
}
