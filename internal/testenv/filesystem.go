package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// FileSystem gives a folder on a new file system of a kind ("xfs", "btrfs", "ext4") and a size in MiB, which is gone after the test. Its
// path is short enough for an engine's sockets.
func FileSystem(t testing.TB, kind string, mib int64) string {
	t.Helper()
	Root(t)
	make, mount := Tool(t, "mkfs."+kind), Tool(t, "mount")
	dir, err := os.MkdirTemp("", "fs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	image := filepath.Join(t.TempDir(), kind)
	f, err := os.Create(image)
	if err == nil {
		err = f.Truncate(mib << 20)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(make, "-q", image).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", make, err, out)
	}
	if out, err := exec.Command(mount, "-o", "loop", image, dir).CombinedOutput(); err != nil {
		Missing(t, "a mount of "+kind, string(out))
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v\n%s", err, out)
		}
	})
	return dir
}
