package backup_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/access"
	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/enginetest"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/snapshot"
)

// one backs up the first volume alone, to target near alone.
func (w *world) one(t *testing.T) backup.Result {
	t.Helper()
	w.volumes = w.volumes[:1]
	w.volumes[0].Targets.Value = []string{"near"}
	r := w.backup(t.Context())[0]
	if err := r.Failure(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (w *world) stored(t *testing.T, store string, ref snapshot.Ref, kind snapshot.Kind) []byte {
	t.Helper()
	r, err := w.stores[store].Get(t.Context(), ref.Key(kind), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAManifestSaysWhatARestoreNeedsAndNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		w.runner.Access = access.Direct{} // which does not ask whether the share is mounted
		options := map[string]string{"type": "cifs", "device": "//nas/shop", "o": "username=joe,password=s3cret,vers=3.0"}
		labels := map[string]string{"backupd.enable": "true", "owner": "shop"}
		v := w.eng.AddVolume(engine.Volume{Name: "shop", Options: options, Labels: labels})
		write(t, filepath.Join(v.Mountpoint, "file"), "shop")
		c := w.eng.AddContainer(enginetest.Container{Container: engine.Container{
			Name: "shop-web-1", Image: "shop:3", ImageID: "sha256:abc",
			Mounts: []engine.Mount{{Volume: "shop", Destination: "/data"}, {Source: "/srv/conf", Destination: "/etc/shop", ReadOnly: true}},
			Labels: map[string]string{"com.docker.compose.project": "shop", "com.docker.compose.service": "web", "token": "s3cret"},
		}, Setup: secretive()})
		w.eng.AddImage(engine.Image{ID: "sha256:abc", Digests: []string{"shop@sha256:def"}})
		w.runner.Starts = w.eng
		w.volumes = append(w.volumes[:0], planned(v, quiesce.Pause, []engine.Container{c}))

		got := w.one(t).Manifest
		want := snapshot.Manifest{
			Format: snapshot.Format, ID: got.ID, Host: "web1", Owner: "owner", Volume: "shop", Taken: got.ID.Time(), Program: "test",
			Quiesce: "pause", Grade: snapshot.Frozen, Held: []snapshot.Held{{Container: "shop-web-1"}},
			Archives: got.Archives,
			Contents: snapshot.Contents{Entries: 2, Bytes: 4},
			Restore: snapshot.Restore{
				Driver: "local", Options: map[string]string{"type": "cifs", "device": "//nas/shop", "o": "vers=3.0"},
				Withheld: []string{"o.password", "o.username"}, Labels: labels,
				Containers: []snapshot.Container{{Name: "shop-web-1", Image: "shop:3", ImageID: "sha256:abc", Project: "shop", Service: "web", Run: &snapshot.Run{
					Digests: []string{"shop@sha256:def"}, Destination: "/data", Active: true, Entrypoint: []string{"shop"},
					Command: []string{"--password=" + snapshot.Withheld, "--token", snapshot.Withheld}, User: "7", Environment: []string{"LANG", "SECRET"},
					Health: &snapshot.Health{Test: []string{"CMD", "ask", "--token=" + snapshot.Withheld}}, Elsewhere: []string{"/etc/shop"}, Memory: 1 << 20,
				}}},
			},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error("manifest (-want +got):\n" + diff)
		}
		stored := w.stored(t, "near", got.Ref(), snapshot.ManifestKind)
		if back, err := snapshot.Decode(stored, got.Ref()); err != nil || !cmp.Equal(got, back) {
			t.Errorf("stored as %s (%v)", stored, err)
		}
		if bytes.Contains(stored, []byte("s3cret")) || bytes.Contains(stored, []byte("joe")) {
			t.Errorf("there is a secret in %s", stored)
		}
		if size := int64(len(w.stored(t, "near", got.Ref(), snapshot.ArchiveKind))); size != got.StoredBytes() {
			t.Errorf("the archive has %d bytes, and the manifest says %d", size, got.StoredBytes())
		}
	})
}

// secretive is how a container was started with secrets wherever there can be one.
func secretive() engine.Setup {
	return engine.Setup{
		Entrypoint: []string{"shop"}, Command: []string{"--password=s3cret", "--token", "s3cret"}, User: "7",
		Env: []string{"SECRET=s3cret", "LANG=C"}, Health: &engine.HealthCheck{Test: []string{"CMD", "ask", "--token=s3cret"}}, Memory: 1 << 20,
	}
}

// What only a drill needs is no reason to fail.
func TestABackupGoesOnWithoutKnowingHowContainersAreStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		w.runner.Starts = untold{}
		r := w.one(t)
		known := func(c snapshot.Container) bool { return c.Run != nil }
		if all := r.Manifest.Restore.Containers; !r.Stored() || r.Failure() != nil || len(all) != 2 || slices.ContainsFunc(all, known) {
			t.Errorf("it ended with %+v (%v)", r.Manifest.Restore, r.Failure())
		}
	})
}

// untold is an engine that does not tell.
type untold struct{}

func (untold) Setup(context.Context, string) (engine.Setup, error) {
	return engine.Setup{}, errors.New("no answer")
}
func (untold) Image(context.Context, string) (engine.Image, error) {
	return engine.Image{}, errors.New("no answer")
}

func TestAManifestIsOfTheMomentAtWhichAllHeldStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		var held []engine.State
		w.runner.Progress = func(string, int64, int64) { held = w.states() }
		r := w.one(t)
		if diff := cmp.Diff([]engine.State{engine.Paused, engine.Running}, held); diff != "" {
			t.Error("containers while the volume was read (-want +got):\n" + diff)
		}
		if len(r.Manifest.Held) != 1 || r.Manifest.Held[0].Container != "db" {
			t.Errorf("held: %v, want db alone, as the other does not mount the volume", r.Manifest.Held)
		}
	})
}

func TestWhatIsExcludedIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		for _, name := range []string{"cache", "deep", "deep/cache"} {
			if err := os.Mkdir(filepath.Join(w.volumes[0].Mountpoint, name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"cache/x", "deep/cache/x", "deep/x.tmp", "deep/keep"} {
			write(t, filepath.Join(w.volumes[0].Mountpoint, name), name)
		}
		w.volumes[0].Exclude.Value = []string{"**/*.tmp", "cache"}
		m := w.one(t).Manifest
		dir := t.TempDir()
		data := w.stored(t, "near", m.Ref(), snapshot.ArchiveKind)
		if _, err := archive.Extract(t.Context(), bytes.NewReader(data), dir, archive.ExtractOptions{}); err != nil {
			t.Fatal(err)
		}
		var got []string
		if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if name := strings.TrimPrefix(path, dir); name != "" {
				got = append(got, name)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		want := []string{"/deep", "/deep/cache", "/deep/cache/x", "/deep/keep", "/file"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error("restored (-want +got):\n" + diff)
		}
	})
}

func TestWhatChangesUnderTheReaderIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.None)
		dir := w.volumes[0].Mountpoint
		w.fill(t, "data", "a", 4<<20)
		write(t, filepath.Join(dir, "b"), "soon gone")
		changed := false
		w.runner.Progress = func(string, int64, int64) {
			if changed {
				return
			}
			changed = true
			if err := os.Truncate(filepath.Join(dir, "a"), 2<<20); err != nil {
				t.Error(err)
			}
			if err := os.Remove(filepath.Join(dir, "b")); err != nil {
				t.Error(err)
			}
		}
		r := w.one(t)
		want := snapshot.Contents{Entries: 3, Bytes: 4<<20 + 4, Vanished: 1, Resized: 1}
		if diff := cmp.Diff(want, r.Manifest.Contents); diff != "" {
			t.Error("contents (-want +got):\n" + diff)
		}
		if r.Manifest.Grade != snapshot.Fuzzy || !r.Stored() {
			t.Errorf("grade %q, stored %v: want it fuzzy, and good as that was asked for", r.Manifest.Grade, r.Stored())
		}
	})
}

// Nobody holds the containers, but nothing was written for longer than a write in flight could take, by a clock that is years ahead of
// that of the files.
func TestAVolumeThatIsNotHeldIsStillWhenNothingMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.None)
		if got := w.one(t).Manifest.Grade; got != snapshot.Fuzzy {
			t.Errorf("a volume that was written just before has grade %q", got)
		}
		w.runner.Now = func() time.Time { return time.Now().AddDate(100, 0, 0) }
		if got := w.one(t).Manifest.Grade; got != snapshot.Still {
			t.Errorf("a volume that nobody writes to has grade %q", got)
		}
	})
}
