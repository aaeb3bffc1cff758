package archive

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/backupd/backupd/internal/testenv"
)

// everything makes a folder with one of each thing that a volume may hold.
func everything(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	random := make([]byte, 3*frameSize+12345)
	rand.NewChaCha8([32]byte{1}).Read(random)
	write(t, dir, map[string]string{
		"empty": "", "small": "hello\n", "a/b": "before a-b", "a-b": "after a/b",
		"exactly": strings.Repeat("x", frameSize), "large": string(random),
		"new\nline": "1", "ünicode": "2", "latin-\xe4": "3", "back\\slash": "4", " ": "5", "-rf": "6",
		strings.Repeat("n", 255):                                      "longest name",
		strings.Repeat(strings.Repeat("d", 200)+"/", 12) + "deep":     "deeper than any header field",
		strings.Repeat("\xff", 90) + "/" + strings.Repeat("\xfe", 90): "long and not UTF-8",
		"suid": "s", "caps": "c", "acl": "acl", "owned": "o", "old": "before 1970", "far": "after 2242",
	})
	must(t, os.MkdirAll(at("folders/empty"), 0o755))
	sparse(t, at("holes"), 5<<20+123, 0, 1<<20, 3<<20)
	sparse(t, at("folders/hole"), 1<<20)
	sparse(t, at("a/"+strings.Repeat("\xfd", 150)), 1<<20, 8192)
	must(t, os.MkdirAll(at("folders/closed"), 0o755))
	must(t, os.Symlink("/etc/passwd", at("absolute")))
	must(t, os.Symlink("../../../outside", at("a/escaping")))
	must(t, os.Symlink(strings.Repeat("long/", 100)+"ä\n", at("longlink")))
	must(t, os.Link(at("small"), at("hard")))
	must(t, os.Link(at("small"), at("folders/hard too")))
	must(t, os.Link(at("absolute"), at("linked link")))
	must(t, unix.Mkfifo(at("pipe"), 0o640))
	must(t, unix.Mknod(at("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, unix.Mknod(at("disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(4000, 1<<19))))
	must(t, os.Lchown(at("owned"), 1<<32-2, 999))
	must(t, os.Lchown(at("absolute"), 70000, 3000000))
	must(t, os.Lchown(at("suid"), 33, 33))
	must(t, unix.Chmod(at("suid"), 0o6755))
	must(t, unix.Chmod(at("folders"), 0o1777))
	must(t, unix.Chmod(at("folders/closed"), 0o2500))
	must(t, unix.Chmod(dir, 0o2751))
	for name, x := range map[string]xattr{
		"small":    {"user.text", "value"},
		"large":    {"user.bytes", "\x00\xff=\n" + strings.Repeat("v", 3000)},
		"empty":    {"user.a=b%3Dc", ""},
		"folders":  {"trusted.folder", "x"},
		"longlink": {"trusted.link", "y"},
		"pipe":     {"trusted.pipe", "z"},
		"caps":     {"security.capability", "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		"acl":      {"system.posix_acl_access", acl(7, 1000, 5)},
		"a":        {"system.posix_acl_default", acl(7, 1001, 4)},
	} {
		must(t, unix.Lsetxattr(at(name), x.name, []byte(x.value), 0))
	}
	for name, when := range map[string]time.Time{
		"old":      time.Unix(-86400*365, 250_000_000),
		"far":      time.Unix(1<<33+12345, 1),
		"absolute": time.Unix(1_000_000_000, 999_999_999),
		"pipe":     time.Unix(-1, 5),
		"folders":  time.Unix(1_700_000_000, 0),
		".":        time.Unix(1_600_000_000, 123_456_789),
	} {
		setTime(t, at(name), when)
	}
	return dir
}

// acl is an ACL as the kernel keeps it, with an entry for one more user.
func acl(owner byte, user uint32, perm byte) string {
	entry := func(tag, perm byte, id uint32) string {
		return string([]byte{tag, 0, perm, 0, byte(id), byte(id >> 8), byte(id >> 16), byte(id >> 24)})
	}
	const nobody = 1<<32 - 1
	return "\x02\x00\x00\x00" + entry(1, owner, nobody) + entry(2, perm, user) + entry(4, 4, nobody) +
		entry(0x10, 7, nobody) + entry(0x20, 0, nobody)
}

func setTime(t testing.TB, path string, when time.Time) {
	t.Helper()
	ts := unix.NsecToTimespec(0)
	ts.Sec, ts.Nsec = when.Unix(), int64(when.Nanosecond())
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
}

func TestEverythingComesBack(t *testing.T) {
	testenv.Root(t)
	src := everything(t)
	want := describe(t, src)
	for _, level := range []Level{None, Fastest, Default, Better} {
		t.Run(level.String(), func(t *testing.T) {
			data, sum := archived(t, src, Options{Level: level})
			dst := t.TempDir()
			rep, err := Extract(t.Context(), bytes.NewReader(data), dst, ExtractOptions{})
			must(t, err)
			if diff := cmp.Diff(want, describe(t, dst)); diff != "" {
				t.Error("restored differs (-want +got)\n", diff)
			}
			if rep.SkippedTotal != 0 || rep.Entries != sum.Entries || rep.Bytes != sum.Bytes {
				t.Errorf("archived %+v, restored %+v", sum, rep)
			}
		})
	}
}

func TestStockToolsExtractTheSame(t *testing.T) {
	testenv.Root(t)
	for name, c := range map[string]struct {
		command []string
		loses   []string // what this tool does not bring back whole from any archive
	}{
		"GNU tar": {command: []string{"tar", "--zstd", "--xattrs", "--xattrs-include=*", "--acls", "-p", "--same-owner", "-xf"}},
		// It takes GNU tar's spelling of attribute names literally, a fraction before 1970 for one after, and leaves the
		// root's time.
		"bsdtar": {command: []string{"bsdtar", "--xattrs", "--acls", "-p", "--numeric-owner", "-xf"}, loses: []string{"empty", "old", "pipe", "."}},
	} {
		t.Run(name, func(t *testing.T) {
			testenv.Tool(t, c.command[0])
			src, dst := everything(t), t.TempDir()
			data, _ := archived(t, src, Options{Level: Fastest})
			file := filepath.Join(t.TempDir(), "archive.tar.zst")
			must(t, os.WriteFile(file, data, 0o600))
			cmd := exec.Command(c.command[0], append(c.command[1:], file)...)
			cmd.Dir = dst
			cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			want, got := describe(t, src), describe(t, dst)
			for _, path := range c.loses {
				if got[path] == "" || got[path] == want[path] {
					t.Errorf("%q comes back as %q: as nothing, or whole by now", path, got[path])
				}
				delete(want, path)
				delete(got, path)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error("restored differs (-want +got)\n", diff)
			}
		})
	}
}

func TestWithoutPrivilegeTheRestIsRestoredAndTheLossListed(t *testing.T) {
	testenv.Root(t) // to make what the unprivileged cannot
	src, dst := t.TempDir(), sharedDir(t)
	write(t, src, map[string]string{"d/file": "data", "suid": "s"})
	must(t, os.Chown(filepath.Join(src, "d/file"), 1, 1))
	must(t, os.Chown(filepath.Join(src, "suid"), 1, 1))
	must(t, unix.Chmod(filepath.Join(src, "suid"), 0o4755))
	must(t, unix.Mknod(filepath.Join(src, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, os.Link(filepath.Join(src, "null"), filepath.Join(src, "null too")))
	must(t, filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if d.IsDir() {
			err = errors.Join(err, os.Chown(path, nobody, nobody))
		}
		return err
	}))
	must(t, os.Chown(dst, nobody, nobody))
	data, sum := archived(t, src, Options{})

	rep := extractAsNobody(t, data, dst)

	want := []Skipped{
		{"d/file", "owner 1:1: operation not permitted"},
		{"null", "character device: operation not permitted"},
		{"null too", `hard link to "null": no such file or directory`},
		{"suid", "owner 1:1: operation not permitted"},
	}
	if diff := cmp.Diff(want, rep.Skipped); diff != "" {
		t.Error("skipped (-want +got)\n", diff)
	}
	if rep.SkippedTotal != 4 || rep.Entries != sum.Entries-2 {
		t.Errorf("restored %d of %d entries, %d things skipped", rep.Entries, sum.Entries, rep.SkippedTotal)
	}
	if got := describe(t, dst)["suid"]; !strings.HasPrefix(got, "mode 100755 owner 65534:65534") {
		t.Errorf("a file that was to run as another user is %q", got)
	}
	if got, err := os.ReadFile(filepath.Join(dst, "d/file")); string(got) != "data" {
		t.Errorf("file has %q, %v", got, err)
	}
}

// TestRandomTreesComeBack restores trees that nobody thought of.
func TestRandomTreesComeBack(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b", "a-b", "a.b", "\xff", "ä", "\n", "x=y", "%41", strings.Repeat("l", 120)})
	sizes := rapid.SampledFrom([]int{0, 1, 511, 512, 513, frameSize - 513, frameSize - 1, frameSize, frameSize + 1, 2*frameSize + 7})
	times := rapid.Int64Range(-1<<33, 1<<34)
	rapid.Check(t, func(rt *rapid.T) {
		work, err := os.MkdirTemp(t.TempDir(), "")
		must(t, err)
		defer os.RemoveAll(work)
		src, dst := filepath.Join(work, "src"), filepath.Join(work, "dst")
		must(t, os.Mkdir(src, 0o755))
		must(t, os.Mkdir(dst, 0o755))
		files := []string{}
		folders := []string{src}
		for range rapid.IntRange(0, 12).Draw(rt, "entries") {
			path := filepath.Join(rapid.SampledFrom(folders).Draw(rt, "in"), names.Draw(rt, "name"))
			if _, err := os.Lstat(path); err == nil {
				continue
			}
			switch rapid.IntRange(0, 4).Draw(rt, "kind") {
			case 0, 1:
				data := make([]byte, sizes.Draw(rt, "size"))
				rand.NewChaCha8([32]byte{byte(len(files))}).Read(data)
				must(t, os.WriteFile(path, data, os.FileMode(rapid.IntRange(0, 0o777).Draw(rt, "mode"))))
				files = append(files, path)
			case 2:
				must(t, os.Mkdir(path, 0o700))
				folders = append(folders, path)
			case 3:
				must(t, os.Symlink(names.Draw(rt, "link"), path))
			case 4:
				if len(files) == 0 {
					continue
				}
				must(t, os.Link(rapid.SampledFrom(files).Draw(rt, "target"), path))
			}
			setTime(t, path, time.Unix(times.Draw(rt, "s"), rapid.Int64Range(0, 999_999_999).Draw(rt, "ns")))
		}
		data, _ := archived(t, src, Options{Level: rapid.SampledFrom([]Level{None, Fastest}).Draw(rt, "level"), Workers: 2})
		if _, err = Extract(t.Context(), bytes.NewReader(data), dst, ExtractOptions{}); err != nil {
			rt.Fatal(err) // which tells the tree
		}
		if diff := cmp.Diff(describe(t, src), describe(t, dst)); diff != "" {
			rt.Error("restored differs (-want +got)\n", diff)
		}
	})
}
