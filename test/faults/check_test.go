package faults_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/gaps"
)

// wantAllWell looks at everything once nothing fails any more.
func (w *world) wantAllWell(t *testing.T) {
	t.Helper()
	for name, target := range w.honest {
		w.wantSnapshots(t, target)
		w.removeUnreadable(t, name)
	}
	if r := w.backup(t, w.honest); !r.Stored() || r.Failure() != nil {
		t.Errorf("the next run: stored %v, %v", r.Stored(), r.Failure())
	}
	w.wantFilled(t)
	for _, target := range w.honest {
		w.wantSnapshots(t, target)
		w.wantSwept(t, target)
	}
	if w.server != nil {
		w.server.WantNoUploads(w.bucket)
	}
}

// wantSnapshots opens all that is listed, and misses what a run called good and retention had no reason to remove.
func (w *world) wantSnapshots(t *testing.T, target backup.Target) {
	t.Helper()
	listing, err := target.Catalog.Volume(t.Context(), "app")
	must(t, err)
	whole := 0
	for _, s := range slices.Backward(listing.Snapshots) {
		if err := w.same(t, target.Catalog, s); err != nil {
			t.Errorf("target %s lists snapshot %s: %v", target.Name, s.ID, err)
			continue
		}
		whole++
		delete(w.called[target.Name], s.ID)
	}
	for id := range w.called[target.Name] {
		newer := 0
		for _, s := range listing.Snapshots {
			if s.ID > id && s.Good() {
				newer++
			}
		}
		if newer < keep {
			t.Errorf("target %s lost snapshot %s: there are %d newer ones, and %d are to stay", target.Name, id, newer, keep)
		}
	}
	for _, s := range listing.Snapshots {
		w.called[target.Name][s.ID] = true
	}
}

// same restores a snapshot, and compares.
func (w *world) same(t *testing.T, c *catalog.Catalog, s catalog.Snapshot) error {
	from, _, err := c.Stream(t.Context(), s.Manifest)
	if err != nil {
		return err
	}
	dir := t.TempDir()
	_, err = archive.Extract(t.Context(), from, dir, archive.ExtractOptions{})
	if err := errors.Join(err, from.Close()); err != nil {
		return err
	}
	got, err := os.ReadFile(filepath.Join(dir, "data"))
	if want := w.contents[s.ID]; err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("it gave %d bytes, other than the %d that were backed up", len(got), len(want))
	}
	return err
}

// removeUnreadable does what somebody is told to do about a manifest that a server has spoiled and not let go of: nothing that was called
// good may be among them.
func (w *world) removeUnreadable(t *testing.T, name string) {
	t.Helper()
	listing, err := w.honest[name].Catalog.Volume(t.Context(), "app")
	must(t, err)
	for _, u := range listing.Unreadable {
		t.Logf("unreadable on %s: %v", name, u.Err)
		if w.called[name][u.Ref.ID] {
			t.Errorf("target %s has an unreadable manifest of snapshot %s, which was called good: %v", name, u.Ref.ID, u.Err)
		}
		must(t, w.honest[name].Catalog.Remove(t.Context(), u.Ref))
	}
}

// wantFilled has targets filled from each other.
func (w *world) wantFilled(t *testing.T) {
	t.Helper()
	f := gaps.Filler{Pruner: w.runner.Pruner, Lock: w.runner.Locks.Hold, Log: slog.New(slog.DiscardHandler)}
	for _, target := range w.honest {
		f.Targets = append(f.Targets, target)
	}
	copies, err := f.Fill(t.Context(), w.volume, gaps.Limits{})
	must(t, err)
	for _, c := range copies {
		if c.Err != nil || len(c.Spoiled) > 0 {
			t.Errorf("target %s is not filled with snapshot %s: %v %v", c.Target, c.Snapshot.ID, c.Err, c.Spoiled)
		}
	}
}

// wantSwept makes sure that nothing stays for ever that is of no snapshot.
func (w *world) wantSwept(t *testing.T, target backup.Target) {
	t.Helper()
	_, kept, err := target.Catalog.Sweep(t.Context(), "app", time.Now().AddDate(1, 0, 0))
	if err != nil || len(kept) > 0 {
		t.Errorf("sweep target %s: kept %v, %v", target.Name, kept, err)
	}
	listing, err := target.Catalog.Volume(t.Context(), "app")
	must(t, err)
	if len(listing.Loose) > 0 || len(listing.Unreadable) > 0 {
		t.Errorf("target %s has %v and %v after it was swept", target.Name, listing.Loose, listing.Unreadable)
	}
}

func (w *world) wantRunning(t *testing.T) {
	t.Helper()
	containers, err := w.eng.Operator().Containers(t.Context())
	must(t, err)
	for _, c := range containers {
		if c.State != engine.Running {
			t.Errorf("container %s is %s", c.Name, c.State)
		}
	}
}
