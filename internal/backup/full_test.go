package backup_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets/local"
	"github.com/backupd/backupd/internal/testenv"
)

// stages are what a run writes, and how its error says so.
var stages = map[string]string{
	"trying the target": "write to target folder",
	"folder of archive": "store archive",
	"archive":           "put web1/",
	"manifest":          "commit snapshot",
	"folder of locks":   "make folder of locks",
	"lock of a volume":  "lock volume",
	"spool made":        "make spool",
	"spool":             "write to spool",
	"folder of holds":   "make the folder of holds",
	"journal made":      "create log",
	"journal":           ".journal",
}

// TestAFullDiskAtEveryStage backs up with room for one block, or one file, more each time, until there is enough: so the disk is full at
// each thing that a run writes, whatever these are.
func TestAFullDiskAtEveryStage(t *testing.T) {
	for name, c := range map[string]struct {
		on    func(*world, *testing.T, testenv.Disk)
		leave func(testenv.Disk, int)
		want  []string
	}{
		"blocks of the target": {(*world).targetOn, testenv.Disk.LeaveBlocks, []string{"trying the target", "archive", "manifest"}},
		"files of the target":  {(*world).targetOn, testenv.Disk.LeaveFiles, []string{"trying the target", "folder of archive", "manifest"}},
		"blocks of the state":  {(*world).stateOn, testenv.Disk.LeaveBlocks, []string{"journal", "spool"}},
		"files of the state":   {(*world).stateOn, testenv.Disk.LeaveFiles, []string{"folder of locks", "lock of a volume", "spool made", "folder of holds", "journal made"}},
		"blocks of both":       {(*world).bothOn, testenv.Disk.LeaveBlocks, []string{"archive", "manifest"}},
	} {
		t.Run(name, func(t *testing.T) {
			hit := map[string]bool{}
			for room, enough := 0, false; !enough; room++ {
				if room > 200 {
					t.Fatal("no room is enough")
				}
				disk := testenv.SmallDisk(t, 1024, 100)
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, quiesce.Pause)
					c.on(w, t, disk)
					enough = w.runOutOf(t, fmt.Sprintf("room for %d", room), disk, func() { c.leave(disk, room) }, hit)
				})
			}
			for _, stage := range c.want {
				if !hit[stage] {
					t.Errorf("no disk was full at this: %s; but at %q", stage, slices.Sorted(maps.Keys(hit)))
				}
			}
		})
	}
}

func (w *world) targetOn(t *testing.T, d testenv.Disk) {
	w.disk(t, "near", d.Path("near"))
	asked, err := local.Open(d.Path("near"))
	if err != nil {
		t.Fatal(err)
	}
	near := w.runner.Targets["near"]
	near.Check = asked.Check
	w.runner.Targets["near"] = near
}

// stateOn leaves it to the runs to make the folders.
func (w *world) stateOn(_ *testing.T, d testenv.Disk) {
	w.spool = d.Path("spool")
	w.runner.Spool.Dir, w.runner.Archive.Scratch, w.runner.Locks.Dir = w.spool, w.spool, filepath.Join(d.Dir, "locks")
	w.runner.Keeper = quiesce.New(w.eng, quiesce.Options{Dir: filepath.Join(d.Dir, "holds"), Now: time.Now})
	delete(w.runner.Targets, "near")
	for i := range w.volumes {
		w.volumes[i].Targets.Value = []string{"far"}
	}
}

func (w *world) bothOn(t *testing.T, d testenv.Disk) {
	near := w.runner.Targets["near"]
	w.stateOn(t, d)
	w.runner.Targets["near"] = near
	w.targetOn(t, d)
	for i := range w.volumes {
		w.volumes[i].Targets.Value = []string{"near"}
	}
}

// runOutOf backs up on a disk that fill leaves little room on, and once more when there is room again. It notes the stages that failed.
func (w *world) runOutOf(t *testing.T, where string, disk testenv.Disk, fill func(), hit map[string]bool) (enough bool) {
	for _, v := range w.volumes {
		w.fill(t, v.Name, "large", 60_000)
	}
	if _, there := w.runner.Targets["near"]; there { // else folders of the state are yet to be made
		w.backup(t.Context())
	}
	before := w.snapshots(t)
	fill()
	enough = true
	for _, r := range w.backup(t.Context()) {
		err := r.Failure()
		if err == nil {
			continue
		}
		enough = false
		if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), disk.Dir) {
			t.Errorf("%s: %v: want it to say that there is no room, and where", where, err)
		}
		for stage, says := range stages {
			if strings.Contains(err.Error(), says) {
				hit[stage] = true
			}
		}
	}
	w.checkContainersRun(t, where)
	w.checkSnapshotsOpen(t, where)
	w.checkNothingLost(t, where, before)
	w.checkNothingPartial(t, where, disk)
	disk.Empty()
	for _, r := range w.backup(t.Context()) {
		if !r.Stored() || r.Failure() != nil {
			t.Errorf("%s: the next run: stored %v, %v", where, r.Stored(), r.Failure())
		}
	}
	w.checkNothingLeft(t, where)
	w.checkSnapshotsOpen(t, where)
	return enough
}

// checkNothingPartial knows each file on the disk.
func (w *world) checkNothingPartial(t *testing.T, where string, disk testenv.Disk) {
	t.Helper()
	committed := map[string]bool{}
	for place, snapshots := range w.snapshots(t) {
		for _, s := range snapshots {
			if strings.HasPrefix(place, "near/") {
				committed[s.Ref().Key(snapshot.ManifestKind)], committed[s.Ref().Key(s.Archives[0].Kind())] = true, true
			}
		}
	}
	err := filepath.WalkDir(disk.Dir, func(path string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(disk.Dir, path)
		top, below, _ := strings.Cut(name, "/")
		switch {
		case err != nil || e.IsDir() || top == "fill" || top == "locks":
		case top == "near" && committed[below]:
		case top == "holds" && !strings.Contains(below, ".journal"): // locks of containers
		default:
			t.Errorf("%s: %s is left", where, name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
