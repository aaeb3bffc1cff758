package archive

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/testenv"
)

// TestAPowerCutIsNotBelieved archives a folder on an image, goes back to what the disk had of it some time before, as a power cut does, and mounts
// that in its place: in the same boot, on the same device, with the same times perhaps.
func TestAPowerCutIsNotBelieved(t *testing.T) {
	testenv.Root(t)
	mount, umount := testenv.Tool(t, "mount"), testenv.Tool(t, "umount")
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
	}
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			image, on := filepath.Join(t.TempDir(), "image"), t.TempDir()
			must(t, os.WriteFile(image, nil, 0o600))
			must(t, os.Truncate(image, 512<<20))
			run(testenv.Tool(t, "mkfs."+kind), "-q", image)
			if out, err := exec.Command(mount, "-o", "loop", image, on).CombinedOutput(); err != nil {
				testenv.Missing(t, "a mount of "+kind, string(out))
			}
			defer func() { run(umount, on) }()
			dir := filepath.Join(on, "data")
			write(t, dir, map[string]string{"kept": "as it is", "lost": "old"})
			run("sync", "-f", dir)
			cut := image + ".cut"
			run("cp", "--sparse=always", image, cut)
			write(t, dir, map[string]string{"lost": "new"})
			l := newLineage(dir)
			l.take(t, 0, settled())
			if again := l.take(t, 1, settled()); !again.Unchanged {
				t.Errorf("nothing has changed: %+v", again)
			}
			run(umount, on)
			run("cp", "--sparse=always", cut, image)
			run(mount, "-o", "loop", image, on)
			after := l.take(t, 1, settled())
			l.wants(t)
			if after.Reused > 0 || after.Distrust == "" {
				t.Errorf("after the power cut: %+v", after)
			}
		})
	}
}

// TestAWriteThatIsUnderWay has one that began before the file was looked at, and goes on: its ctime is from when it began.
func TestAWriteThatIsUnderWay(t *testing.T) {
	const size = 64 << 20
	onEach(t, func(t *testing.T, dir string) {
		name := filepath.Join(dir, "large")
		must(t, os.WriteFile(name, make([]byte, size), 0o644))
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		must(t, err)
		defer f.Close()
		must(t, f.Sync())
		before, err := stat(unix.AT_FDCWD, name)
		must(t, err)
		written := make(chan error, 1)
		go func() {
			_, err := f.WriteAt(bytes.Repeat([]byte{1}, size), 0)
			written <- err
		}()
		for now := before; now.Ctime == before.Ctime; {
			now, err = stat(unix.AT_FDCWD, name)
			must(t, err)
		}
		o := quick()
		o.unsettled = time.Microsecond
		l := newLineage(dir)
		l.take(t, 0, o)
		must(t, <-written)
		if sum := l.take(t, 1, o); sum.Reused == 0 {
			t.Log("its ctime has moved since")
		}
		l.wants(t)
	})
}
