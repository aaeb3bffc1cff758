package webdav

import (
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/targetstest"
	"github.com/backupd/backupd/internal/targets/webdav/webdavtest"
)

// soon is the patience of tests.
var soon = times{connect: 10 * time.Second, answer: 10 * time.Second, silence: time.Second, firstWait: 10 * time.Millisecond}

func checked(t *testing.T, u *url.URL) *Store {
	t.Helper()
	s, err := open(u, soon)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.CloseIdleConnections)
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	server := webdavtest.Start(t)
	var n atomic.Int32
	targetstest.Run(t, func(t *testing.T) targets.Store {
		folder := "target-" + string('a'+n.Add(1))
		t.Cleanup(func() { wantNoPartials(t, filepath.Join(server.Dir, folder)) })
		return checked(t, server.URLAt(server.Address, folder))
	})
}

func wantNoPartials(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(dir, targets.Partials))
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
	for _, e := range left {
		t.Errorf("left of a put: %s", e.Name())
	}
}
