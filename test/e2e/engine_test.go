package e2e

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/testenv"
)

// enrolled are the labels of a volume that is backed up.
func enrolled() map[string]string { return map[string]string{"backupd.enable": "true"} }

// inspect looks at a container, by id or by name.
func inspect(t *testing.T, d *testenv.Docker, id string) container.InspectResponse {
	t.Helper()
	c, err := d.API.ContainerInspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wantRunning fails the test when a container does not run, or is paused.
func wantRunning(t *testing.T, d *testenv.Docker, id string) {
	t.Helper()
	if c := inspect(t, d, id); c.State.Status != container.StateRunning {
		t.Errorf("container %s is %s", c.Name, c.State.Status)
	}
}

// folder is where a volume's content lies.
func folder(t *testing.T, d *testenv.Docker, volume string) string {
	t.Helper()
	v, err := d.API.VolumeInspect(t.Context(), volume)
	if err != nil {
		t.Fatal(err)
	}
	return v.Mountpoint
}

// fill writes a file of so many MiB. Three in four cannot be compressed, the other compresses well: as in a folder of pictures and
// text. No two are the same.
func fill(t *testing.T, name string, mib int) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	noise := rand.NewChaCha8([32]byte{byte(mib)})
	text := bytes.Repeat([]byte("all work and no play makes jack a dull boy\n"), 1<<20/43)
	for i := range mib {
		from := io.LimitReader(noise, 1<<20)
		if i%4 == 3 {
			from = io.MultiReader(io.LimitReader(noise, int64(1<<20-len(text))), bytes.NewReader(text))
		}
		if _, err := io.Copy(f, from); err != nil {
			t.Fatal(err)
		}
	}
}

// eventually waits until something holds that another process brings about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	testenv.Eventually(t, what, holds)
}

// content reads a file of a volume.
func content(t *testing.T, d *testenv.Docker, volume, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder(t, d, volume), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// put writes a file to a volume.
func put(t *testing.T, d *testenv.Docker, volume, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder(t, d, volume), name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
