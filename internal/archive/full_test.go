package archive

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/testenv"
)

// A folder of more names than are kept in memory is archived with ever more room for scratch files, until there is enough.
func TestAFullScratchDiskAtEveryStage(t *testing.T) {
	src := crowd(t, 20_000)
	hit := map[string]bool{}
	for name, c := range map[string]struct {
		leave func(testenv.Disk, int)
		step  int
	}{"blocks": {testenv.Disk.LeaveBlocks, 500}, "files": {testenv.Disk.LeaveFiles, 1}} {
		disk := testenv.SmallDisk(t, 4096, 20)
		scratch := disk.Path("scratch")
		for room := 0; ; room += c.step {
			c.leave(disk, room)
			left, files := disk.Free()
			_, err := Create(t.Context(), src, io.Discard, Options{Level: Fastest, Scratch: scratch})
			if blocksNow, filesNow := disk.Free(); blocksNow != left || filesNow != files {
				t.Errorf("%s, room for %d: of %d blocks and %d files %d and %d are left", name, room, left, files, blocksNow, filesNow)
			}
			if err == nil {
				break
			}
			wantFull(t, err, disk)
			for _, stage := range []string{"make a scratch file", "write names to a scratch file", "write scratch file"} {
				hit[stage] = hit[stage] || strings.Contains(err.Error(), stage)
			}
		}
	}
	for stage, was := range hit {
		if !was {
			t.Errorf("the disk was full never when it was to %s", stage)
		}
	}
}

func TestAFullDiskForTheTableOfLinks(t *testing.T) {
	disk := testenv.SmallDisk(t, 1024, 20)
	for room := range 3 {
		disk.LeaveBlocks(room)
		table := newLinkTable(disk.Dir, 0)
		var err error
		for i := 0; i < 1000 && err == nil; i++ {
			_, err = table.seen(inode{number: uint64(i)}, fmt.Sprint("a path of some length, number ", i), 2)
		}
		wantFull(t, err, disk)
		table.close()
	}
}

func wantFull(t *testing.T, err error, disk testenv.Disk) {
	t.Helper()
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), disk.Dir) {
		t.Errorf("%v: want it to say that there is no room, and where", err)
	}
}

// crowd is a folder of many files whose long names do not compress.
func crowd(t *testing.T, files int) string {
	t.Helper()
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	for range files {
		name := make([]byte, 240)
		for i := range name {
			name[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[random.IntN(64)]
		}
		f, err := os.Create(filepath.Join(dir, string(name)))
		must(t, err)
		must(t, f.Close())
	}
	return dir
}
