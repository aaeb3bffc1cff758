package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWriteFile(t *testing.T) {
	tests := map[string]struct {
		before func(path string) error
		perm   fs.FileMode
	}{
		"makes a file":                            {perm: 0o600},
		"replaces a file and its permissions":     {before: func(p string) error { return os.WriteFile(p, []byte("old, and longer"), 0o644) }, perm: 0o600},
		"gives permissions that the umask denies": {perm: 0o666},
		"replaces a link and not what it names":   {before: func(p string) error { return os.Symlink("elsewhere", p) }, perm: 0o600},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			if tt.before != nil {
				if err := tt.before(path); err != nil {
					t.Fatal(err)
				}
			}
			if err := WriteFile(path, []byte("new"), tt.perm); err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if data, err := os.ReadFile(path); string(data) != "new" || info.Mode() != tt.perm {
				t.Errorf("it holds %q with mode %v (%v), want \"new\" with mode %v", data, info.Mode(), err, tt.perm)
			}
			onlyFile(t, dir, "file")
		})
	}
}

func TestWriteFileThatFailsChangesNothing(t *testing.T) {
	tests := map[string]struct {
		before func(t *testing.T, dir string)
		want   error
	}{
		"a folder is there": {
			before: func(t *testing.T, dir string) {
				if err := os.MkdirAll(filepath.Join(dir, "file", "content"), 0o700); err != nil {
					t.Fatal(err)
				}
			},
			want: fs.ErrExist, // what rename(2) calls EEXIST or ENOTEMPTY
		},
		"the file may not grow": { // stands in for a full disk
			before: func(t *testing.T, dir string) {
				if err := os.WriteFile(filepath.Join(dir, "file"), []byte("old"), 0o600); err != nil {
					t.Fatal(err)
				}
				limitFileSize(t, 2)
			},
			want: unix.EFBIG,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tt.before(t, dir)
			err := WriteFile(filepath.Join(dir, "file"), []byte("new"), 0o600)
			if !errors.Is(err, tt.want) {
				t.Errorf("error is %v, want %v", err, tt.want)
			}
			if data, err := os.ReadFile(filepath.Join(dir, "file")); err == nil && string(data) != "old" {
				t.Errorf("the file holds %q, want \"old\"", data)
			}
			onlyFile(t, dir, "file")
		})
	}
}

func TestWriteFileNeedsItsFolder(t *testing.T) {
	if err := WriteFile(filepath.Join(t.TempDir(), "none", "file"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v, want %v", err, fs.ErrNotExist)
	}
}

// limitFileSize makes writes fail that would let a file of this process grow beyond some bytes.
func limitFileSize(t *testing.T, bytes uint64) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
			t.Error(err)
		}
	})
}

func onlyFile(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("the folder holds %v (%v), want only %s", entries, err, name)
	}
}
