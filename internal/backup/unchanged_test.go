package backup_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backupd/backupd/internal/access"
	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/bases"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/folder"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/snapshot"
)

// unchanging is a volume of which every archive that may lean on another one finds that nothing has changed.
type unchanging struct{ backup.Opener }

func (u unchanging) Reader(ctx context.Context, v engine.Volume) (access.Folder, error) {
	f, err := u.Opener.Reader(ctx, v)
	return sameFolder{f}, err
}

type sameFolder struct{ access.Folder }

func (f sameFolder) Take(ctx context.Context, w io.Writer, o archive.Options) (access.Taking, error) {
	leans := o.Base != nil
	o.Base = nil
	t, err := f.Folder.Take(ctx, w, o)
	if err != nil || !leans {
		return t, err
	}
	return sameTaking{t}, nil
}

type sameTaking struct{ access.Taking }

func (t sameTaking) Finish(ctx context.Context) (folder.Summary, error) {
	sum, err := t.Taking.Finish(ctx)
	sum.Unchanged = true
	return sum, err
}

// newest has runs lean on the newest snapshot that a target has. It counts those that are open.
type newest struct {
	from *catalog.Catalog
	open int
}

func (n *newest) Open(ctx context.Context, _, volume string) (bases.Base, error) {
	l, err := n.from.Volume(ctx, volume)
	if err != nil || len(l.Snapshots) == 0 {
		return bases.Base{}, fs.ErrNotExist
	}
	n.open++
	return bases.Base{Base: archive.NewBase("base", nil), Archives: l.Snapshots[len(l.Snapshots)-1].Archives, Closer: n}, nil
}

func (n *newest) Begin(string, string) (*bases.Draft, error) {
	return nil, errors.New("nothing is kept")
}

func (n *newest) Close() error {
	n.open--
	return nil
}

// unchanged makes a world in which nothing changes from the second run on.
func unchanged(t *testing.T) (*world, *newest) {
	w := newWorld(t, quiesce.Pause)
	last := &newest{from: w.runner.Targets["near"].Catalog}
	w.runner.Access, w.runner.Bases = unchanging{w.runner.Access}, last
	w.runner.LeanFor = 1 << 62
	for i := range w.volumes {
		w.volumes[i].Retention.Value = retention.Policy{Last: 3}
	}
	return w, last
}

func TestAnUnchangedVolumeCommitsAManifestOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, last := unchanged(t)
		first := w.backup(t.Context())
		for range 4 { // more than are kept, so that the archive's own snapshot goes
			for i, r := range w.backup(t.Context()) {
				m := r.Manifest
				if r.Failure() != nil || !r.Stored() || m.StoredBytes() != 0 || !slices.Equal(m.Archives, first[i].Manifest.Archives) {
					t.Errorf("volume %s: %v; it is read from %v", r.Volume, r.Failure(), m.Archives)
				}
				if m.Contents.Entries != 2 || !m.Good() || m.Grade != snapshot.Frozen || !m.Taken.After(first[i].Manifest.Taken) {
					t.Errorf("volume %s: the manifest is %+v", r.Volume, m)
				}
			}
		}
		for name, s := range w.stores {
			kinds := map[string]int{}
			for o, err := range s.List(t.Context(), "") {
				if err != nil {
					t.Fatal(err)
				}
				_, kind, _ := snapshot.ParseKey(o.Key)
				kinds[string(kind)]++
			}
			if kinds[".json"] != 6 || kinds[".tar.zst"] != 2 || len(kinds) != 2 {
				t.Errorf("target %s has %v", name, kinds)
			}
		}
		if last.open != 0 {
			t.Errorf("%d indexes are still open", last.open)
		}
		w.checkSnapshotsOpen(t, "after runs without any change")
		w.checkNothingLeft(t, "after runs without any change")
	})
}

func TestNothingLeansOnWhatATargetLacksOrHasDamaged(t *testing.T) {
	archiveOf := func(w *world, target string, m snapshot.Manifest) (string, string) {
		return target, m.Ref().Key(snapshot.ArchiveKind)
	}
	for name, spoil := range map[string]func(t *testing.T, w *world, m snapshot.Manifest){
		"the manifest is not there": func(t *testing.T, w *world, m snapshot.Manifest) {
			if err := w.stores["far"].Delete(t.Context(), m.Ref().Key(snapshot.ManifestKind)); err != nil {
				t.Fatal(err)
			}
		},
		"the archive is not there": func(t *testing.T, w *world, m snapshot.Manifest) {
			target, key := archiveOf(w, "far", m)
			if err := w.stores[target].Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		},
		"it is damaged": func(_ *testing.T, w *world, m snapshot.Manifest) {
			far := w.runner.Targets["far"]
			far.Catalog = far.Catalog.WithFound(func(_, volume string) (map[snapshot.ID]snapshot.Proof, error) {
				return map[snapshot.ID]snapshot.Proof{m.ID: {At: time.Now(), Damaged: "bad"}}, nil
			})
			w.runner.Targets["far"] = far
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, last := unchanged(t)
				w.volumes = w.volumes[:1]
				spoil(t, w, w.backup(t.Context())[0].Manifest)
				r := w.backup(t.Context())[0]
				if r.Failure() != nil || r.Manifest.StoredBytes() == 0 || len(r.Manifest.Archives) != 1 {
					t.Errorf("%v; it is read from %v", r.Failure(), r.Manifest.Archives)
				}
				if again := w.backup(t.Context())[0].Manifest; again.StoredBytes() != 0 {
					t.Error("nor does the next one lean on that")
				}
				if last.open != 0 {
					t.Errorf("%d indexes are still open", last.open)
				}
			})
		})
	}
}

// Between the beginning of a run and its manifest somebody takes the archive away behind everybody's back.
func TestBeforeItsManifestARunAsksAgainThatAllItLeansOnIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := unchanged(t)
		w.volumes = w.volumes[:1]
		first := w.backup(t.Context())[0].Manifest
		w.runner.Progress = func(string, int64, int64) {
			if err := w.stores["far"].Delete(t.Context(), first.Ref().Key(snapshot.ArchiveKind)); err != nil {
				t.Error(err)
			}
		}
		r := w.backup(t.Context())[0]
		if err := r.Failure(); err == nil || !strings.Contains(err.Error(), "target far: commit snapshot") || !strings.Contains(err.Error(), string(first.ID)) {
			t.Errorf("%v", err)
		}
		for _, s := range w.snapshots(t)["far/data"] {
			if s.ID != first.ID {
				t.Errorf("there is snapshot %s", s.ID)
			}
		}
	})
}

// TestEveryFaultOfAnUnchangedVolume is TestEveryFault where the second run has nothing to store.
func TestEveryFaultOfAnUnchangedVolume(t *testing.T) {
	for _, kind := range faulttest.Kinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			for at, more := 1, true; more; at++ {
				synctest.Test(t, func(t *testing.T) {
					w, _ := unchanged(t)
					for i := range w.volumes {
						w.volumes[i].Retention.Value = retention.Policy{Last: 1}
					}
					more = w.walk(t, kind, at)
				})
			}
		})
	}
}
