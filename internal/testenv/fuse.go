package testenv

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// FUSE ends a test that cannot mount a file system of a program of its own.
func FUSE(t testing.TB) {
	t.Helper()
	Root(t)
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		Missing(t, "FUSE", err.Error())
	}
	if err := device.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := unix.Mount("backupd-test", dir, "tmpfs", 0, ""); err != nil {
		Missing(t, "the right to mount", err.Error())
	}
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
}
