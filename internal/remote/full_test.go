package remote_test

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/testenv"
)

// A helper fills a volume with room for ever more blocks, or files, until there is enough.
func TestAFolderElsewhereThatIsFull(t *testing.T) {
	from := odd(t)
	data := create(t, from, archive.Options{})
	for name, c := range map[string]struct {
		leave func(testenv.Disk, int)
		step  int
	}{"blocks": {testenv.Disk.LeaveBlocks, 400}, "files": {testenv.Disk.LeaveFiles, 1}} {
		disk := testenv.SmallDisk(t, 8192, 20)
		dir := disk.Path("volume")
		failed := 0
		for room := 0; ; room += c.step {
			c.leave(disk, room)
			f, _, wait := serve(t, dir)
			_, err := f.Fill(t.Context(), stored{data: data}) // whose size it does not tell, so that nothing is refused early
			if err := wait(); err != nil {
				t.Error(err)
			}
			if err == nil {
				break
			}
			failed++
			if said := err.Error(); !strings.Contains(said, unix.ENOSPC.Error()) || !strings.Contains(said, `"`) && !strings.Contains(said, dir) {
				t.Errorf("%s, room for %d: %v: want it to say that there is no room, and for which file or folder", name, room, err)
			}
			if !empty(t, dir) {
				t.Errorf("%s, room for %d: something is left", name, room)
			}
		}
		if failed < 3 || tar(t, dir) != tar(t, from) {
			t.Errorf("%s: it failed %d times, or then was not what was stored", name, failed)
		}
	}
}
