package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// describe tells all that a restore must bring back of a folder, by other means than the package's own.
func describe(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	names := make(map[uint64]string) // first name of each inode
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		text := fmt.Sprintf("mode %o owner %d:%d", st.Mode, st.Uid, st.Gid)
		text += fmt.Sprintf(" time %d.%09d xattrs %q", st.Mtim.Sec, st.Mtim.Nsec, xattrsOf(t, path))
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" data %d %x", len(data), sha256.Sum256(data))
		case unix.S_IFLNK:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" link %q", link)
		case unix.S_IFCHR, unix.S_IFBLK:
			text += fmt.Sprintf(" device %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		if !d.IsDir() {
			if first, ok := names[st.Ino]; ok {
				text += fmt.Sprintf(" same as %q", first)
			} else {
				names[st.Ino] = rel
			}
		}
		all[rel] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func xattrsOf(t testing.TB, path string) map[string]string {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, name := range strings.FieldsFunc(string(buf[:n]), func(r rune) bool { return r == 0 }) {
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(value[:n])
	}
	return all
}

// must ends a test whose own preparation fails.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write makes files with the folders above them.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, data := range files {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(data), 0o644))
	}
}

// paths lists what is below dir.
func paths(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, path); rel != "." {
			all = append(all, rel)
		}
		return err
	}))
	return all
}

// archived is the archive of a folder.
func archived(t testing.TB, dir string, o Options) ([]byte, Summary) {
	t.Helper()
	var out bytes.Buffer
	s, err := Create(t.Context(), dir, &out, o)
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), s
}

// framed is an archive of a plain stream, whatever that is.
func framed(plain []byte) []byte {
	var out []byte
	for len(plain) > 0 {
		n := min(len(plain), frameSize)
		out = appendRawFrame(out, plain[:n])
		plain = plain[n:]
	}
	return out
}

const nobody = 65534

// sharedDir is a temporary folder that the user nobody can reach.
func sharedDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	return dir
}

// asNobody calls f on a thread that has no power over files that are not nobody's; the thread ends with the call.
func asNobody(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		_, _ = unix.SetfsgidRetGid(nobody)
		_, _ = unix.SetfsuidRetUid(nobody)
		f()
	}()
	<-done
}

// extractAsNobody restores an archive in a process that has no power over files that are not nobody's.
func extractAsNobody(t testing.TB, data []byte, dst string) Report {
	t.Helper()
	dir := sharedDir(t)
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	program, report := filepath.Join(dir, "program"), filepath.Join(dir, "report")
	must(t, os.WriteFile(program, self, 0o755))
	must(t, os.WriteFile(report, nil, 0o666))
	must(t, os.Chmod(report, 0o666))
	cmd := exec.Command(program, "-test.run=^TestExtractForAnother$")
	cmd.Env = append(os.Environ(), extractInto+"="+dst, extractReport+"="+report)
	cmd.Stdin = bytes.NewReader(data)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(report)
	must(t, err)
	var rep Report
	must(t, json.Unmarshal(text, &rep))
	return rep
}

const (
	extractInto   = "TEST_EXTRACT_INTO"
	extractReport = "TEST_EXTRACT_REPORT"
)

// TestExtractForAnother is what runs in the process of extractAsNobody.
func TestExtractForAnother(t *testing.T) {
	dst := os.Getenv(extractInto)
	if dst == "" {
		return
	}
	rep, err := Extract(t.Context(), os.Stdin, dst, ExtractOptions{})
	must(t, err)
	text, err := json.Marshal(rep)
	must(t, err)
	must(t, os.WriteFile(os.Getenv(extractReport), text, 0o600))
}
