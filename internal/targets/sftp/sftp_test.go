package sftp

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/sftp/sftptest"
	"github.com/backupd/backupd/internal/targets/targetstest"
)

// soon is the patience of tests.
var soon = times{dial: 10 * time.Second, interval: 100 * time.Millisecond, patience: time.Second, grace: time.Millisecond, firstWait: time.Millisecond}

func openAt(t *testing.T, u *url.URL) *Store {
	t.Helper()
	s, err := open(u, soon)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.latest != nil {
			s.drop(s.latest)
		}
	})
	return s
}

func checked(t *testing.T, s *Store) *Store {
	t.Helper()
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	server := sftptest.Start(t)
	targetstest.Run(t, func(t *testing.T) targets.Store {
		dir := t.TempDir()
		t.Cleanup(func() { wantNoPartials(t, dir) })
		return checked(t, openAt(t, server.URL(dir+"/target")))
	})
}

func wantNoPartials(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(dir, "target", targets.Partials))
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
	for _, e := range left {
		t.Errorf("left of a put: %s", e.Name())
	}
}
