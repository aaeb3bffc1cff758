package catalog_test

import (
	"os"
	"testing"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/targets/memory"
	"github.com/backupd/backupd/internal/testenv"
)

// A cache without room is none, and keeps what it had.
func TestACacheThatIsFull(t *testing.T) {
	days := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	disk := testenv.SmallDisk(t, 64, 50)
	for name, fill := range map[string]func(room int){"blocks": disk.LeaveBlocks, "files": disk.LeaveFiles} {
		for room := range 4 {
			dir := disk.Path(name + string(rune('0'+room)))
			c := catalog.New(memory.New(), catalog.NewCache(dir), host)
			store(t, c, "app", days...)
			fill(room)
			for range 2 {
				if l := list(t, c, "app"); len(l.Snapshots) != len(days) || l.Err() != nil {
					t.Errorf("%s for %d: listed %d snapshots, %v", name, room, len(l.Snapshots), l.Err())
				}
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) > 1 {
				t.Errorf("%s for %d: the cache has %v (%v)", name, room, entries, err)
			}
			disk.Empty()
			if l := list(t, c, "app"); len(l.Snapshots) != len(days) {
				t.Errorf("%s for %d: listed %d snapshots once there is room again", name, room, len(l.Snapshots))
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
				t.Errorf("%s for %d: once there is room again the cache has %v (%v)", name, room, entries, err)
			}
		}
	}
}
