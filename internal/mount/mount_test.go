package mount_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/mount"
	"github.com/backupd/backupd/internal/testenv"
)

// describe tells all of a folder that stat and read do, but what only a live file system knows.
func describe(t testing.TB, dir string) map[string]string {
	t.Helper()
	seen := map[string]string{}
	inodes := map[uint64]string{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		size := st.Size
		if d.IsDir() {
			size = 0
		}
		text := fmt.Sprintf("%o %d:%d %d bytes, %d.%09d, device %x", st.Mode, st.Uid, st.Gid, size, st.Mtim.Sec, st.Mtim.Nsec, st.Rdev)
		if first := inodes[st.Ino]; first != "" {
			text += ", linked to " + first
		}
		inodes[st.Ino] = name
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(", %x", sum(data))
		case unix.S_IFLNK:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " -> " + to
		}
		if kind := d.Type(); kind != fs.FileMode(0)|modeOf(st.Mode) {
			text += fmt.Sprintf(", listed as %v", kind)
		}
		seen[name] = text
		return nil
	}))
	return seen
}

func modeOf(mode uint32) fs.FileMode {
	return map[uint32]fs.FileMode{
		unix.S_IFDIR: fs.ModeDir, unix.S_IFLNK: fs.ModeSymlink, unix.S_IFIFO: fs.ModeNamedPipe,
		unix.S_IFCHR: fs.ModeDevice | fs.ModeCharDevice, unix.S_IFBLK: fs.ModeDevice,
	}[mode&unix.S_IFMT]
}

func TestASnapshotIsShownAsItWas(t *testing.T) {
	w, dir := newWorld(), everything(t)
	ref := w.add(t, "app", dir, 1)
	w.show(t, mount.Options{})
	if diff := cmp.Diff(describe(t, dir), describe(t, w.path(ref))); diff != "" {
		t.Errorf("(-volume +shown)\n%s", diff)
	}
	var st unix.Stat_t
	must(t, unix.Stat(w.path(ref, "a.b"), &st))
	if st.Blocks > 64 {
		t.Errorf("a file with holes takes %d blocks", st.Blocks)
	}
}

func TestHolesCanBeFound(t *testing.T) {
	w, dir := newWorld(), everything(t)
	must(t, os.WriteFile(filepath.Join(dir, "hole"), nil, 0o644))
	must(t, os.Truncate(filepath.Join(dir, "hole"), 1<<20))
	ref := w.add(t, "app", dir, 1)
	w.show(t, mount.Options{})
	for _, name := range []string{"a.b", "hole", "large", "a", "d/link"} {
		if diff := cmp.Diff(segments(t, filepath.Join(dir, name)), segments(t, w.path(ref, name))); diff != "" {
			t.Errorf("%s (-volume +shown)\n%s", name, diff)
		}
	}
}

// segments are where data and holes begin in a file, by turns.
func segments(t testing.TB, path string) (all []int64) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	for at, whence := int64(0), unix.SEEK_DATA; ; whence = unix.SEEK_DATA + unix.SEEK_HOLE - whence {
		if at, err = unix.Seek(int(f.Fd()), at, whence); err == unix.ENXIO {
			return all
		}
		must(t, err)
		all = append(all, at)
	}
}

// Programs that others have written see the same.
func TestStockToolsSeeTheSame(t *testing.T) {
	w, dir := newWorld(), everything(t)
	ref := w.add(t, "app", dir, 1)
	w.show(t, mount.Options{})
	for name, script := range map[string]string{
		"tar":  `tar -C "$1" -cf - . | tar -C "$2" --compare -f -`,
		"diff": `diff -r --no-dereference -x fifo -x null "$1" "$2"`,
		"find": `cd "$1" && find . -printf '%P %y %m %U:%G %T@\n' | sort >"$3/1" && cd "$2" && find . -printf '%P %y %m %U:%G %T@\n' | sort >"$3/2" && cmp "$3/1" "$3/2"`,
	} {
		out, err := exec.Command("sh", "-ec", script, "sh", dir, w.path(ref), t.TempDir()).CombinedOutput()
		if err != nil || strings.Contains(string(out), "differ") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestFoldersAboveSnapshots(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	write(t, dir, map[string]string{"a": "1"})
	first, second, odd := w.add(t, "app", dir, 1), w.add(t, "app", dir, 2), w.add(t, "odd/../name", dir, 3)
	w.shown[1].Good = false
	w.show(t, mount.Options{})
	want := []string{"app", "odd%2F..%2Fname"}
	if diff := cmp.Diff(want, names(t, w.dir)); diff != "" {
		t.Error(diff)
	}
	want = []string{string(first.ID), string(second.ID), "latest"}
	if diff := cmp.Diff(want, names(t, filepath.Join(w.dir, "app"))); diff != "" {
		t.Error(diff)
	}
	if to, err := os.Readlink(filepath.Join(w.dir, "app", "latest")); to != string(first.ID) || err != nil {
		t.Errorf("the latest good one is %s, %v", to, err)
	}
	for _, path := range []string{w.path(odd, "a"), filepath.Join(w.dir, "app", "latest", "a")} {
		if data, err := os.ReadFile(path); string(data) != "1" || err != nil {
			t.Errorf("%s: %q, %v", path, data, err)
		}
	}
	for _, path := range []string{"nothing", "app/nothing", "app/latest/nothing", "app/latest/a/nothing"} {
		if _, err := os.Stat(filepath.Join(w.dir, path)); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestAFolderForEachHost(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	ref := w.add(t, "app", dir, 1)
	w.show(t, mount.Options{Hosts: true})
	if _, err := os.Stat(filepath.Join(w.dir, "web1", "app", string(ref.ID))); err != nil {
		t.Error(err)
	}
}

func names(t testing.TB, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir) // sorted
	must(t, err)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestNothingCanBeChanged(t *testing.T) {
	w, dir := newWorld(), everything(t)
	ref := w.add(t, "app", dir, 1)
	w.show(t, mount.Options{})
	for name, err := range map[string]error{
		"write":  os.WriteFile(w.path(ref, "a"), nil, 0o644),
		"make":   os.WriteFile(w.path(ref, "fresh"), nil, 0o644),
		"mkdir":  os.Mkdir(filepath.Join(w.dir, "fresh"), 0o755),
		"remove": os.Remove(w.path(ref, "a")),
		"rename": os.Rename(w.path(ref, "a"), w.path(ref, "z")),
		"chmod":  os.Chmod(w.path(ref, "a"), 0o777),
	} {
		if !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Open(w.path(ref, "null")); !errors.Is(err, unix.EACCES) {
		t.Errorf("a device can be opened: %v", err)
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(table)) {
		if strings.Contains(line, w.dir) && !strings.Contains(line, "ro,nosuid,nodev") {
			t.Errorf("mounted as %s", line)
		}
	}
}

func TestXattrsAreShownWhenAsked(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"with": "1", "without": "2"})
	if err := unix.Setxattr(filepath.Join(dir, "with"), "user.color", []byte("blue"), 0); err != nil {
		testenv.Missing(t, "a file system with extended attributes", err.Error())
	}
	for _, asked := range []bool{true, false} {
		t.Run(fmt.Sprint(asked), func(t *testing.T) {
			w := newWorld()
			ref := w.add(t, "app", dir, 1)
			w.show(t, mount.Options{Xattrs: asked})
			value := make([]byte, 100)
			n, err := unix.Getxattr(w.path(ref, "with"), "user.color", value)
			if asked != (err == nil && string(value[:n]) == "blue") {
				t.Errorf("%q, %v", value[:max(n, 0)], err)
			}
			n, err = unix.Listxattr(w.path(ref, "with"), value)
			if asked != (err == nil && bytes.Contains(value[:n], []byte("user.color\x00"))) {
				t.Errorf("%q, %v", value[:max(n, 0)], err)
			}
			if _, err = unix.Getxattr(w.path(ref, "without"), "user.color", value); err == nil {
				t.Error("it has one")
			}
		})
	}
}
