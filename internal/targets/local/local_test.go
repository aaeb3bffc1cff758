package local

import (
	"testing"

	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/targetstest"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	targetstest.Run(t, func(t *testing.T) targets.Store { return open(t) })
}

func TestStoreWithoutNamelessFiles(t *testing.T) {
	targetstest.Run(t, func(t *testing.T) targets.Store {
		s := open(t)
		s.named = true
		return s
	})
}
