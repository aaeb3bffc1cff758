package backup_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/local"
	"github.com/backupd/backupd/internal/targets/memory"
	"github.com/backupd/backupd/internal/testenv"
)

// large is the size of a file that does not fit into the spool, eight times over: what compressing has in hand, and a disk, take some of it.
const large = 8 << 20

// disk makes a target a folder, on which the faults of the memory in its place come about.
func (w *world) disk(t *testing.T, name, dir string) {
	t.Helper()
	s, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	w.target(name, func(m *memory.Store) targets.Store { return disk{s, m} })
}

// smallDisk is one of so many bytes.
func smallDisk(t *testing.T, size int) (dir string) {
	t.Helper()
	return testenv.SmallDisk(t, size/testenv.Block, 1000).Dir
}

// disk is a local store some of whose calls can fail: of those, what writes archives.
type disk struct {
	*local.Store
	memory *memory.Store
}

func (d disk) Draft(ctx context.Context, key string) (of targets.Draft, err error) {
	err = d.memory.Faults.Call(ctx, "draft "+key, func() (err error) {
		of, err = d.Store.Draft(ctx, key)
		return err
	})
	if err != nil && of != nil {
		err = errors.Join(err, of.Close())
	}
	return draft{of, d.memory}, err
}

type draft struct {
	targets.Draft
	memory *memory.Store
}

func (d draft) Write(p []byte) (n int, err error) {
	err = d.memory.Faults.Call(context.Background(), "write", func() (err error) {
		n, err = d.Draft.Write(p)
		return err
	})
	return n, err
}

func (d draft) Commit(ctx context.Context) error {
	return d.memory.Faults.Call(ctx, "commit", func() error { return d.Draft.Commit(ctx) })
}

func (d disk) Put(ctx context.Context, key string, r io.Reader) error {
	return d.memory.Faults.Call(ctx, "put "+key, func() error { return d.Store.Put(ctx, key, r) })
}

// archive gives the bytes of the newest one of a volume on a target.
func (w *world) archive(t *testing.T, target, volume string) []byte {
	t.Helper()
	all := w.snapshots(t)[target+"/"+volume]
	if len(all) == 0 {
		t.Errorf("target %s has no snapshot of volume %s", target, volume)
		return nil
	}
	from, _, err := w.runner.Targets[target].Catalog.Stream(t.Context(), all[len(all)-1].Manifest)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(from)
	if err := errors.Join(err, from.Close()); err != nil {
		t.Fatal(err)
	}
	return data
}

// checkArchive compares what is on a target with what a volume holds.
func (w *world) checkArchive(t *testing.T, target, volume string) {
	t.Helper()
	dir := t.TempDir()
	if _, err := archive.Extract(t.Context(), bytes.NewReader(w.archive(t, target, volume)), dir, archive.ExtractOptions{}); err != nil {
		t.Errorf("extract volume %s of target %s: %v", volume, target, err)
		return
	}
	for _, v := range w.volumes {
		if v.Name != volume {
			continue
		}
		want, err := os.ReadFile(filepath.Join(v.Mountpoint, "large"))
		got, gotErr := os.ReadFile(filepath.Join(dir, "large"))
		if err := errors.Join(err, gotErr); err != nil || !bytes.Equal(got, want) {
			t.Errorf("volume %s came back from target %s with %d bytes, other than the %d there were (%v)", volume, target, len(got), len(want), err)
		}
	}
}

// newDisks is a world with a disk and a target that takes nothing before the gate is closed, and volumes larger than the spool.
func newDisks(t *testing.T, dir string) (w *world, gate chan struct{}) {
	w, gate = newWorld(t, quiesce.Pause), make(chan struct{})
	w.disk(t, "near", dir)
	w.target("far", gated(gate))
	for _, v := range w.volumes {
		w.fill(t, v.Name, "large", large)
	}
	return w, gate
}

// begin starts a backup, and comes back when that can go no further.
func (w *world) begin(ctx context.Context) <-chan []backup.Result {
	done := make(chan []backup.Result, 1)
	go func() { done <- w.backup(ctx) }()
	time.Sleep(time.Hour + time.Nanosecond) // just after the backup begins: this clock goes on when nothing else does
	return done
}

func TestATargetBesideADiskDoesNotLengthenTheHoldHoweverSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, gate := newDisks(t, t.TempDir())
		done := w.begin(t.Context())
		if got := w.states(); !slices.Equal(got, running) {
			t.Errorf("containers are %v while a target takes nothing", got)
		}
		for _, volume := range []string{"data", "logs"} {
			w.checkArchive(t, "near", volume) // although the other target has nothing yet
		}
		close(gate)
		for _, r := range <-done {
			if r.Failure() != nil || r.Manifest.Grade != snapshot.Frozen || r.Manifest.HeldMS() != 0 {
				t.Errorf("volume %s: grade %q, held for %d ms, %v", r.Volume, r.Manifest.Grade, r.Manifest.HeldMS(), r.Failure())
			}
			if !bytes.Equal(w.archive(t, "near", r.Volume), w.archive(t, "far", r.Volume)) {
				t.Errorf("volume %s: its archives are not the same", r.Volume)
			}
		}
		w.checkNothingLeft(t, "after a backup")
	})
}

func TestSeveralDisksGetTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, gate := newDisks(t, t.TempDir())
		w.stores["third"] = memory.New()
		w.runner.Targets["third"] = backup.Target{Name: "third"}
		w.disk(t, "third", t.TempDir())
		for i := range w.volumes {
			w.volumes[i].Targets.Value = []string{"far", "near", "third"}
		}
		close(gate)
		for _, r := range w.backup(t.Context()) {
			if r.Failure() != nil {
				t.Errorf("volume %s: %v", r.Volume, r.Failure())
			}
			w.checkArchive(t, "far", r.Volume)
			for _, name := range []string{"near", "third"} {
				if !bytes.Equal(w.archive(t, name, r.Volume), w.archive(t, "far", r.Volume)) {
					t.Errorf("volume %s: target %s has another archive than target far", r.Volume, name)
				}
			}
		}
	})
}

// The spool holds less than what the disk lacks.
func TestADiskThatFillsUpSpoilsNoOtherTarget(t *testing.T) {
	for name, size := range map[string]int{"in the middle": 2 << 20, "at the end": large, "at once": 8 << 10} {
		t.Run(name, func(t *testing.T) {
			dir := smallDisk(t, size)
			free := func() uint64 {
				var st unix.Statfs_t
				if err := unix.Statfs(dir, &st); err != nil {
					t.Fatal(err)
				}
				return st.Bfree
			}
			synctest.Test(t, func(t *testing.T) {
				w, gate := newDisks(t, dir)
				before := free()
				close(gate)
				for _, r := range w.backup(t.Context()) {
					if !r.Stored() || r.Err != nil || !errors.Is(r.Failure(), unix.ENOSPC) || !strings.Contains(r.Failure().Error(), "target near") {
						t.Errorf("volume %s: stored %v, %v", r.Volume, r.Stored(), r.Failure())
					}
					w.checkArchive(t, "far", r.Volume)
				}
				if got := w.snapshots(t); len(got["near/data"])+len(got["near/logs"]) > 0 {
					t.Errorf("the disk that is full has snapshots: %v", got)
				}
				if after := free(); before-after > 4 { // folders take some
					t.Errorf("of %d free blocks %d are left", before, after)
				}
				w.checkContainersRun(t, name)
				w.checkNothingLeft(t, name)
			})
		})
	}
}

// pulled is a disk that somebody pulls out for the moment in which it would get an archive.
type pulled struct {
	*local.Store
	dir string
}

func (p pulled) Draft(ctx context.Context, key string) (d targets.Draft, err error) {
	if err := os.Rename(p.dir, p.dir+"-out"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Rename(p.dir+"-out", p.dir)) }()
	return p.Store.Draft(ctx, key)
}

func TestADiskThatIsGoneByThenSpoilsNoOtherTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, gate := newDisks(t, t.TempDir())
		close(gate)
		dir := filepath.Join(t.TempDir(), "disk")
		store, err := local.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		w.target("near", func(*memory.Store) targets.Store { return pulled{store, dir} })
		for _, r := range w.backup(t.Context()) {
			if !r.Stored() || r.Err != nil || !strings.Contains(r.Failure().Error(), "is its disk not mounted?") {
				t.Errorf("volume %s: stored %v, %v", r.Volume, r.Stored(), r.Failure())
			}
			w.checkArchive(t, "far", r.Volume)
		}
	})
}

func TestAnEndThatIsAskedForInTheMiddleLeavesWhatIsWhole(t *testing.T) {
	for name, size := range map[string]int{"of reading": 2 << 20, "of sending": 4 * large} {
		t.Run(name, func(t *testing.T) {
			dir := smallDisk(t, size)
			synctest.Test(t, func(t *testing.T) {
				w, _ := newDisks(t, dir) // whose gate stays as it is
				ctx, cancel := context.WithCancel(t.Context())
				done := w.begin(ctx)
				held := !slices.Equal(w.states(), running)
				if held != (name == "of reading") {
					t.Errorf("containers are %v", w.states())
				}
				cancel()
				for _, r := range <-done {
					if !errors.Is(r.Failure(), context.Canceled) || r.Stored() == held {
						t.Errorf("volume %s: stored %v, %v", r.Volume, r.Stored(), r.Failure())
					}
					if !held {
						w.checkArchive(t, "near", r.Volume)
					}
				}
				if got := w.snapshots(t); held && len(got) > 0 {
					t.Errorf("snapshots: %v, want none", got)
				}
				w.checkContainersRun(t, name)
				w.checkNothingLeft(t, name)
			})
		})
	}
}

func TestAFullSpoolIsToldOncePerHold(t *testing.T) {
	for name, held := range map[string]struct {
		mode quiesce.Mode
		want int
	}{"held": {quiesce.Pause, 1}, "not held": {quiesce.None, 0}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				w, gate := newWorld(t, held.mode), make(chan struct{})
				w.runner.Log = slog.New(slog.NewTextHandler(&log, nil))
				w.target("far", gated(gate))
				for _, v := range w.volumes {
					w.fill(t, v.Name, "large", large)
				}
				done := w.begin(t.Context())
				close(gate)
				<-done
				said := log.String()
				if n := strings.Count(said, "the spool is full"); n != held.want {
					t.Errorf("it was told %d times, want %d:\n%s", n, held.want, said)
				}
				if held.want > 0 && (!strings.Contains(said, "target=far") || !strings.Contains(said, "BACKUPD_SPOOL_LIMIT")) {
					t.Errorf("it does not say which target and what to do:\n%s", said)
				}
			})
		})
	}
}

func TestEveryFaultWithADisk(t *testing.T) {
	for _, kind := range faulttest.Kinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			for at, more := 1, true; more; at++ {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, quiesce.Pause)
					w.disk(t, "near", t.TempDir())
					more = w.walk(t, kind, at)
				})
			}
		})
	}
}
