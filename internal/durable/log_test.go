package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestALogIsTakenWhenItsWriterIsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := CreateLog(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"one", "two"} {
		if err := l.Append([]byte(line), true); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := TakeLog(path, 100); !errors.Is(err, ErrLocked) {
		t.Fatalf("taking a log whose writer lives gives %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	taken, lines, err := TakeLog(path, 100)
	if err != nil || len(lines) != 2 || string(lines[0]) != "one" || string(lines[1]) != "two" {
		t.Fatalf("lines %q, %v", lines, err)
	}
	if err := RemoveLog(path, taken); err != nil {
		t.Fatal(err)
	}
	if _, _, err := TakeLog(path, 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("taking a log that was removed gives %v", err)
	}
}

func TestALineThatWasCutOffIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("one\ntw"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, lines, err := TakeLog(path, 100)
	if err != nil || len(lines) != 1 || string(lines[0]) != "one" {
		t.Fatalf("lines %q, %v", lines, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestKeysHaveOneHolderEach(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	var holders [2]*Keys
	for i := range holders {
		var err error
		if holders[i], err = OpenKeys(path); err != nil {
			t.Fatal(err)
		}
		defer holders[i].Close()
	}
	one, two := holders[0], holders[1]
	for _, key := range []string{"a", "a", "b"} { // what one has, one may take again
		if err := one.Try(key); err != nil {
			t.Fatal(err)
		}
	}
	if err := two.Try("a"); !errors.Is(err, ErrLocked) {
		t.Errorf("a key that somebody has gives %v", err)
	}
	if err := two.Try("c"); err != nil {
		t.Errorf("another key gives %v", err)
	}
	if err := one.Drop(); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b"} {
		if err := two.Try(key); err != nil {
			t.Errorf("a key that was dropped gives %v", err)
		}
	}
	if err := one.Try("c"); !errors.Is(err, ErrLocked) {
		t.Errorf("dropping its own, somebody dropped another's: %v", err)
	}
}

func TestLogs(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.journal", "a.journal", "a.journal.new", "c.refused"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Logs(dir, ".journal")
	if want := []string{filepath.Join(dir, "a.journal"), filepath.Join(dir, "b.journal")}; err != nil || !slices.Equal(got, want) {
		t.Errorf("logs are %q, %v", got, err)
	}
	if got, err := Logs(filepath.Join(dir, "none"), ".journal"); len(got) > 0 || err != nil {
		t.Errorf("of no folder they are %q, %v", got, err)
	}
}
