package archive

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A folder and the archive of it are the same, whatever is in it: what is compared with a snapshot is what would be backed up.
func TestAWalkGivesWhatAnArchiveHas(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "1", "a-b": "", "a.d/file": "data", "caf\xe9": "x", "out/side": ""})
	must(t, os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "z")))
	must(t, os.Symlink("nowhere", filepath.Join(dir, "link")))
	must(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	must(t, err)
	_, err = sparse.WriteAt([]byte("end"), 5<<20)
	must(t, errors.Join(err, sparse.Close()))
	options := Options{Exclude: []string{"out"}}
	data, _ := archived(t, dir, options)

	n := 0
	for c, err := range Changes(reader(t, data).Entries(t.Context(), "."), counted(Walk(t.Context(), dir, options), &n)) {
		must(t, err)
		t.Errorf("%s: %s", c.Path, c.What)
	}
	if n != 10 {
		t.Errorf("%d entries", n)
	}
}

func counted(all func(func(Indexed, error) bool), n *int) func(func(Indexed, error) bool) {
	return func(yield func(Indexed, error) bool) {
		all(func(e Indexed, err error) bool { *n++; return yield(e, err) })
	}
}

func TestAWalkEnds(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "", "b": ""})
	n := 0
	for range Walk(t.Context(), dir, Options{}) {
		if n++; n == 2 {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var failed []error
	for name, all := range map[string]func(func(Indexed, error) bool){
		"cancelled": Walk(ctx, dir, Options{}), "no folder": Walk(t.Context(), filepath.Join(dir, "a"), Options{}),
		"bad pattern": Walk(t.Context(), dir, Options{Exclude: []string{"["}}), "bad cover": Covered(Walk(t.Context(), dir, Options{}), []string{"["}),
	} {
		failed = nil
		for _, err := range all {
			failed = append(failed, err)
		}
		if len(failed) == 0 || failed[len(failed)-1] == nil {
			t.Errorf("%s: %v", name, failed)
		}
	}
}
