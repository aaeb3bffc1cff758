package catalog_test

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/targets/local"
	"github.com/backupd/backupd/internal/targets/memory"
	"github.com/backupd/backupd/internal/testenv"
)

// A cache without room is none, and has no halves of manifests.
func TestACacheThatIsFull(t *testing.T) {
	const days = 5
	var all []int
	for day := range days {
		all = append(all, day)
	}
	for room := range 3 * days {
		disk := testenv.SmallDisk(t, 64, 50)
		cache, err := local.Open(disk.Path("cache"))
		if err != nil {
			t.Fatal(err)
		}
		c := catalog.New(memory.New(), cache, host)
		store(t, c, "app", all...)
		disk.LeaveFiles(room)
		for range 2 {
			if l := list(t, c, "app"); len(l.Snapshots) != days || l.Err() != nil {
				t.Errorf("room for %d: listed %d snapshots, %v", room, len(l.Snapshots), l.Err())
			}
		}
		disk.LeaveBlocks(room / 2)
		cached := 0
		err = filepath.WalkDir(filepath.Join(disk.Dir, "cache"), func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				cached++
				if info, err := e.Info(); err != nil || info.Size() < 100 || !strings.HasSuffix(path, ".json") {
					t.Errorf("room for %d: the cache has %s (%v)", room, path, err)
				}
			}
			return err
		})
		if err != nil || cached > days {
			t.Errorf("room for %d: %d are cached, %v", room, cached, err)
		}
		disk.Empty()
		if l := list(t, c, "app"); len(l.Snapshots) != days {
			t.Errorf("room for %d: listed %d snapshots once there is room again", room, len(l.Snapshots))
		}
	}
}
