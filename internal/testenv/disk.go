package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Disk is a small file system of its own, which can be filled.
type Disk struct {
	Dir string // what lies here besides folders is nobody's but the disk's

	t testing.TB
}

// Block is the size of a disk's blocks in bytes: what a file takes of it is a multiple.
const Block = 4096

const fillers = "fill"

// SmallDisk mounts a disk of so many blocks and files, which is gone after the test.
func SmallDisk(t testing.TB, blocks, files int) Disk {
	t.Helper()
	Root(t)
	d := Disk{t.TempDir(), t}
	if err := unix.Mount("backupd-test", d.Dir, "tmpfs", 0, fmt.Sprintf("size=%d,nr_inodes=%d", blocks*Block, files)); err != nil {
		Missing(t, "the right to mount", err.Error())
	}
	t.Cleanup(func() { _ = unix.Unmount(d.Dir, unix.MNT_DETACH) }) // the folder tells, which could not be removed
	return d
}

// Path makes a folder on the disk.
func (d Disk) Path(name string) string {
	d.t.Helper()
	path := filepath.Join(d.Dir, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// Free tells how many blocks and files there is room for.
func (d Disk) Free() (blocks, files int) {
	d.t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(d.Dir, &st); err != nil {
		d.t.Fatal(err)
	}
	return int(st.Bfree), int(st.Ffree)
}

// LeaveBlocks fills the disk up to so many blocks, which there must be.
func (d Disk) LeaveBlocks(n int) {
	d.t.Helper()
	d.Empty()
	f, err := os.Create(filepath.Join(d.Path(fillers), "blocks"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	free, _ := d.Free()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(free-n)*Block); err != nil {
		d.t.Fatal(err)
	}
}

// LeaveFiles makes files until there is room for no more than so many.
func (d Disk) LeaveFiles(n int) {
	d.t.Helper()
	d.Empty()
	dir := d.Path(fillers)
	for _, free := d.Free(); free > n; free-- {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(free)), nil, 0o600); err != nil {
			d.t.Fatal(err)
		}
	}
}

// Empty takes away what fills the disk.
func (d Disk) Empty() {
	d.t.Helper()
	if err := os.RemoveAll(filepath.Join(d.Dir, fillers)); err != nil {
		d.t.Fatal(err)
	}
}
