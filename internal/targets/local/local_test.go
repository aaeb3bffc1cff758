package local

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/targetstest"
	"github.com/backupd/backupd/internal/testenv"
)

// both are the two ways in which files come to be: without a name first, and with one.
var both = map[string]bool{"nameless": false, "named": true}

func openAt(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	for name, named := range both {
		t.Run(name, func(t *testing.T) {
			targetstest.Run(t, func(t *testing.T) targets.Store {
				s := openAt(t, t.TempDir())
				s.named = named
				t.Cleanup(func() { wantNoDrafts(t, s.dir) })
				return s
			})
		})
	}
}

func TestDrafts(t *testing.T) {
	targetstest.RunDrafts(t, func(t *testing.T) targetstest.DraftStore { return openAt(t, t.TempDir()) })
}

func TestAFileSystemForNamesAloneHasNoDrafts(t *testing.T) {
	s := openAt(t, t.TempDir())
	s.named = true
	if d, err := s.Draft(t.Context(), "a/b"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("draft: %v, %v", d, err)
	}
	wantNoDrafts(t, s.dir)
}

// wantNoDrafts looks for what List does not show.
func wantNoDrafts(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && isDraft(e.Name()) {
			t.Errorf("left behind: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestModes(t *testing.T) {
	for name, named := range both {
		t.Run(name, func(t *testing.T) {
			s := openAt(t, filepath.Join(t.TempDir(), "new"))
			s.named = named
			put(t, s, "host/volume/object")
			for path, want := range map[string]fs.FileMode{
				"": 0o750, "host": 0o750, "host/volume": 0o750, "host/volume/object": 0o440,
			} {
				info, err := os.Stat(filepath.Join(s.dir, path))
				if err != nil {
					t.Fatal(err)
				}
				if got := info.Mode().Perm(); got&^want != 0 || got&0o400 == 0 { // the umask may take more
					t.Errorf("%q has mode %v, want %v", path, got, want)
				}
			}
		})
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ dir, want string }{
		"nothing":      {"", "absolute"},
		"relative":     {"backups", "absolute"},
		"no parent":    {"/nowhere/at/all", "/nowhere/at is not there: is a disk not mounted?"},
		"a file":       {file, "not a directory"},
		"below a file": {file + "/backups", "a part of the path is a file"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Open(c.dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("open %q: %v, want it to speak of %q", c.dir, err, c.want)
			}
		})
	}
}

// What is there can be had from a disk that takes nothing more.
func TestReadOnly(t *testing.T) {
	dir := tmpfs(t, "size=1m")
	s := openAt(t, dir)
	put(t, s, "host/volume/object")
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := keys(t, s); len(got) != 1 {
		t.Errorf("it has %q", got)
	}
	if err := s.Check(t.Context()); !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), "mounted read-only") {
		t.Errorf("check: %v, want it to speak of a read-only mount", err)
	}
	if err := s.Put(t.Context(), "host/volume/other", strings.NewReader("")); !errors.Is(err, unix.EROFS) {
		t.Errorf("put: %v, want it to speak of a read-only mount", err)
	}
}

func TestFullDisk(t *testing.T) {
	for name, named := range both {
		t.Run(name, func(t *testing.T) {
			s := openAt(t, tmpfs(t, "size=1m"))
			s.named = named
			if err := s.Put(t.Context(), "a/b", bytes.NewReader(make([]byte, 20<<20))); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("put more than there is room for: %v", err)
			}
			if got := keys(t, s); got != nil {
				t.Errorf("it left %q", got)
			}
			wantNoDrafts(t, s.dir)
			if err := s.Put(t.Context(), "a/b", bytes.NewReader(make([]byte, 900<<10))); err != nil {
				t.Errorf("put what there should be room for: %v", err)
			}
			if err := s.Put(t.Context(), "a/c", bytes.NewReader(make([]byte, 200<<10))); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("put more than there is left: %v", err)
			}
			filler, err := os.Create(filepath.Join(s.dir, "filler"))
			if err != nil {
				t.Fatal(err)
			}
			defer filler.Close()
			if _, err := filler.Write(make([]byte, 1<<20)); !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
			if err := s.Check(t.Context()); !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "no room") {
				t.Errorf("check a full disk: %v", err)
			}
		})
	}
}

// tmpfs mounts a small file system for one test.
func tmpfs(t *testing.T, options string) string {
	t.Helper()
	testenv.Root(t)
	dir := t.TempDir()
	if err := unix.Mount("backupd-test", dir, "tmpfs", 0, options); err != nil {
		testenv.Missing(t, "the right to mount", err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestPlanted has a hostile neighbour put links and pipes where objects and folders should be.
func TestPlanted(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, t.TempDir())
	for name, to := range map[string]string{
		"linked": outside, "up": "..", "file": filepath.Join(outside, "secret"), "dangling": filepath.Join(outside, "new"), "loop": "loop",
	} {
		if err := os.Symlink(to, filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(s.dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"linked/new", "up/new", "file", "file/new", "dangling", "loop", "loop/new", "pipe", "pipe/new"} {
		if err := s.Put(t.Context(), key, strings.NewReader("x")); err == nil {
			t.Errorf("put %s: no error", key)
		}
	}
	for _, key := range []string{"linked/secret", "file", "dangling", "loop", "pipe", "pipe/x"} {
		if r, err := s.Get(t.Context(), key, 0, -1); err == nil {
			t.Errorf("get %s: no error", key)
			r.Close()
		}
	}
	for _, prefix := range []string{"linked/", "up/", "loop/"} {
		for o, err := range s.List(t.Context(), prefix) {
			if err == nil {
				t.Errorf("list %s: %s", prefix, o.Key)
			}
		}
	}
	if got := keys(t, s); got != nil {
		t.Errorf("listed: %q", got)
	}
	for _, key := range []string{"linked/secret", "file"} { // of these the second is a link, and may be removed as such
		_ = s.Delete(t.Context(), key)
	}
	left, err := os.ReadDir(outside)
	if err != nil || len(left) != 1 || left[0].Name() != "secret" {
		t.Errorf("outside there is %v, %v, want what was there before", left, err)
	}
}

func TestForeignFilesAreLeftAlone(t *testing.T) {
	s := openAt(t, t.TempDir())
	for _, name := range []string{"README", "bad\nname", "bad\xffname", ".hidden", ".backupd-.tmp", "folder/x"} {
		path := filepath.Join(s.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{".hidden", "README", "folder/x"}, keys(t, s)); diff != "" {
		t.Errorf("- wanted, + listed:\n%s", diff)
	}
	if err := s.Delete(t.Context(), "folder"); err != nil {
		t.Error(err)
	}
	if err := s.Put(t.Context(), "a/.backupd-x.tmp", strings.NewReader("")); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("put under a name that is not listed: %v", err)
	}
}

func TestDeadWritersAreCleanedUpAfter(t *testing.T) {
	s := openAt(t, t.TempDir())
	s.named = true
	put(t, s, "host/first")
	for name, age := range map[string]time.Duration{
		".backupd-DEAD.tmp": 25 * time.Hour, ".backupd-LIVE.tmp": 23 * time.Hour, ".backupd-AHEAD.tmp": -1000 * time.Hour, "other.tmp": 1000 * time.Hour,
	} {
		path := filepath.Join(s.dir, "host", name)
		then := time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, then, then)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, "host/second")
	entries, err := os.ReadDir(filepath.Join(s.dir, "host"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string{".backupd-AHEAD.tmp", ".backupd-LIVE.tmp", "first", "other.tmp", "second"}, names); diff != "" {
		t.Errorf("- wanted, + there:\n%s", diff)
	}
}

func TestFileThatIsCutWhileItIsRead(t *testing.T) {
	s := openAt(t, t.TempDir())
	if err := s.Put(t.Context(), "a", bytes.NewReader(make([]byte, 1<<20))); err != nil {
		t.Fatal(err)
	}
	r, err := s.Get(t.Context(), "a", 10, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := os.Truncate(filepath.Join(s.dir, "a"), 1000); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, r); n != 990 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read %d bytes, %v, want io.ErrUnexpectedEOF after 990", n, err)
	}
}

// A folder that is gone says nothing of the objects in it.
func TestFolderThatIsGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "target")
	s := openAt(t, dir)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	_, getErr := s.Get(t.Context(), "a", 0, -1)
	var listErr error
	for _, listErr = range s.List(t.Context(), "") {
	}
	for name, err := range map[string]error{
		"put": s.Put(t.Context(), "a", strings.NewReader("x")), "get": getErr, "list": listErr, "delete": s.Delete(t.Context(), "a"), "check": s.Check(t.Context()),
	} {
		if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "not mounted") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	put(t, s, "a") // it has come back
}

func TestCheckEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := openAt(t, t.TempDir()).Check(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("check: %v", err)
	}
}

func put(t *testing.T, s *Store, key string) {
	t.Helper()
	if err := s.Put(t.Context(), key, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
}

func keys(t *testing.T, s *Store) (found []string) {
	t.Helper()
	for o, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, o.Key)
	}
	return found
}
