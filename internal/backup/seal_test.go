package backup_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/access"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/enginetest"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/seal"
	"github.com/backupd/backupd/internal/snapshot"
)

// encrypt has what is backed up from now on encrypted, to a key that only the readers of targets have.
func (w *world) encrypt(t *testing.T) {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	write(t, file, key.String())
	if err := w.runner.Seal.UnmarshalText([]byte(key.Recipient().String())); err != nil {
		t.Fatal(err)
	}
	for name, target := range w.runner.Targets {
		target.Catalog = target.Catalog.WithKeys(seal.KeysIn(file, nil))
		w.runner.Targets[name] = target
	}
}

func TestAllTargetsGetTheSameEncryptedArchive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		dir := t.TempDir()
		w.disk(t, "near", dir)
		w.encrypt(t)
		w.fill(t, "data", "large", 4<<20) // more than the spool holds
		for _, r := range w.backup(t.Context()) {
			if r.Failure() != nil {
				t.Fatal(r.Failure())
			}
			near, err := os.ReadFile(filepath.Join(dir, r.Manifest.Ref().Key(snapshot.SealedKind)))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(near, w.stored(t, "far", r.Manifest.Ref(), snapshot.SealedKind)) {
				t.Errorf("volume %s: the targets have different archives", r.Volume)
			}
			a := r.Manifest.Archives[0]
			if a.Size != int64(len(near)) || a.Stored != sha256.Sum256(near) || a.Encryption != snapshot.Age {
				t.Errorf("volume %s: the manifest has %+v of an archive of %d bytes", r.Volume, a, len(near))
			}
			if manifest := w.stored(t, "far", r.Manifest.Ref(), snapshot.ManifestKind); bytes.Contains(manifest, []byte("large")) {
				t.Errorf("volume %s: there is a name of a file in %s", r.Volume, manifest)
			}
		}
		w.checkSnapshotsOpen(t, "encrypted")
		w.checkNothingLeft(t, "encrypted")
	})
}

func TestEveryFaultWithEncryption(t *testing.T) {
	for _, kind := range faulttest.Kinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			for at, more := 1, true; more; at++ {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, quiesce.Pause)
					w.disk(t, "near", t.TempDir())
					w.encrypt(t)
					more = w.walk(t, kind, at)
				})
			}
		})
	}
}

func TestTheManifestOfAnEncryptedSnapshotTellsOnlyReadersWhatARestoreNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, quiesce.Pause)
		w.encrypt(t)
		w.runner.Access = access.Direct{} // which does not ask whether the share is mounted
		v := w.eng.AddVolume(engine.Volume{
			Name: "shop", Driver: "local", Options: map[string]string{"type": "cifs", "device": "//nas/shop", "o": "username=joe,password=s3cret"},
			Labels: map[string]string{"customer": "acme"},
		})
		write(t, filepath.Join(v.Mountpoint, "file"), "shop")
		c := w.eng.AddContainer(enginetest.Container{Container: engine.Container{
			Name: "web", Image: "shop:3", ImageID: "sha256:abc", Mounts: []engine.Mount{{Volume: "shop", Destination: "/data"}},
		}, Setup: secretive()})
		w.runner.Starts = w.eng
		w.volumes = append(w.volumes[:0], planned(v, quiesce.Pause, []engine.Container{c}))
		m := w.one(t).Manifest
		stored := w.stored(t, "near", m.Ref(), snapshot.ManifestKind)
		for _, word := range []string{"s3cret", "joe", "nas", "acme", "shop:3", "cifs"} {
			if bytes.Contains(stored, []byte(word)) {
				t.Errorf("%q is in %s", word, stored)
			}
		}
		got, err := w.runner.Targets["near"].Catalog.Facts(m)
		want := snapshot.Restore{
			Driver: "local", Options: v.Options, Labels: v.Labels,
			Containers: []snapshot.Container{{Name: "web", Image: "shop:3", ImageID: "sha256:abc", Run: &snapshot.Run{
				Destination: "/data", Active: true, Entrypoint: []string{"shop"}, Command: []string{"--password=s3cret", "--token", "s3cret"}, User: "7",
				Environment: []string{"LANG", "SECRET"}, Health: &snapshot.Health{Test: []string{"CMD", "ask", "--token=s3cret"}}, Memory: 1 << 20,
			}}},
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("with a key it tells (-want +got, %v):\n%s", err, diff)
		}
		if _, err := w.runner.Targets["near"].Catalog.WithKeys(nil).Facts(m); !errors.Is(err, seal.ErrLocked) {
			t.Errorf("without a key the error is %v", err)
		}
	})
}
