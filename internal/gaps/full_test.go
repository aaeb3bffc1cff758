package gaps_test

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/gaps"
	"github.com/backupd/backupd/internal/targets/local"
	"github.com/backupd/backupd/internal/testenv"
)

// A target is filled with room for one block, or file, more each time, until there is enough: whatever did not fit has left nothing.
func TestATargetThatIsFullWhileItIsFilled(t *testing.T) {
	for name, leave := range map[string]func(testenv.Disk, int){"blocks": testenv.Disk.LeaveBlocks, "files": testenv.Disk.LeaveFiles} {
		t.Run(name, func(t *testing.T) {
			at := map[string]bool{}
			for room, enough := 0, false; !enough; room++ {
				disk := testenv.SmallDisk(t, 256, 50)
				w := newWorld(t)
				w.large(t)
				w.put(t, w.manifest(1), w.bytes, "near")
				store, err := local.Open(disk.Path("far"))
				must(t, err)
				w.filler.Targets[1] = backup.Target{Name: "far", Catalog: catalog.New(store, nil, "web1")}
				leave(disk, room)
				copies := w.fill(t, gaps.Limits{To: []string{"far"}})
				if enough = copies[0].Err == nil; !enough {
					if !errors.Is(copies[0].Err, unix.ENOSPC) || !strings.Contains(copies[0].Err.Error(), disk.Dir) {
						t.Errorf("room for %d: %v: want it to say that there is no room, and where", room, copies[0].Err)
					}
					at[stage(copies[0].Err)] = true
					wantNoFiles(t, filepath.Join(disk.Dir, "far"))
					disk.Empty()
					want(t, w.fill(t, gaps.Limits{To: []string{"far"}}), "2 far<near")
				}
				listing, err := w.filler.Targets[1].Catalog.Volume(t.Context(), "app")
				must(t, errors.Join(err, listing.Err()))
				if len(listing.Snapshots) != 1 || len(listing.Loose) > 0 {
					t.Errorf("room for %d: in the end there are %+v", room, listing)
				}
			}
			if !at["archive"] || !at["manifest"] {
				t.Errorf("the disk was full at these only: %v", at)
			}
		})
	}
}

// large makes the archive one of many blocks.
func (w *world) large(t *testing.T) {
	t.Helper()
	dir, out := t.TempDir(), strings.Builder{}
	data := make([]byte, 60_000)
	rand.Read(data)
	must(t, os.WriteFile(filepath.Join(dir, "file"), data, 0o600))
	var err error
	w.sum, err = archive.Create(t.Context(), dir, &out, archive.Options{})
	must(t, err)
	w.bytes = []byte(out.String())
}

func stage(err error) string {
	if strings.Contains(err.Error(), "commit snapshot") {
		return "manifest"
	}
	return "archive"
}

func wantNoFiles(t *testing.T, dir string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			t.Errorf("%s is left", path)
		}
		return err
	}))
}
