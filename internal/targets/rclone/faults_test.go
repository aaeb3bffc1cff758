package rclone

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/targetstest"
	"github.com/backupd/backupd/internal/testenv"
)

// disturb puts a program before the real one, which it calls as "$REAL"; what it runs for a command is of the shell, and FIRST is true
// the first time.
func disturb(t *testing.T, command, script string) {
	t.Helper()
	real, dir := testenv.Tool(t, "rclone"), t.TempDir()
	text := `#!/bin/sh
case " $* " in *" ` + command + ` "*) ;; *) exec ` + real + ` "$@";; esac
REAL=` + real + ` FIRST=false
mkdir ` + dir + `/once 2>/dev/null && FIRST=true
` + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, "rclone"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestReadingThatBreaksOff(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		want   error
	}{
		"once, with an error": {`if $FIRST; then "$REAL" "$@" | head -c 100000; exit 1; fi; exec "$REAL" "$@"`, nil},
		"once, quietly":       {`if $FIRST; then "$REAL" "$@" | head -c 100000; exit 0; fi; exec "$REAL" "$@"`, nil},
		"always":              {`echo "2026/11/25 08:44:52 Failed to cat: the line is dead" >&2; exit 1`, io.ErrUnexpectedEOF},
		"a little each time":  {`exec "$REAL" "$@" | head -c 70000`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			configure(t)
			dir := t.TempDir()
			want := targetstest.Random(300_000)
			write(t, filepath.Join(dir, "key"), string(want))
			disturb(t, "cat", c.script)
			got, err := targetstest.Read(t, openAt(t, dir), "key")
			if !errors.Is(err, c.want) || !bytes.Equal(got, want[:len(got)]) || err == nil && len(got) != len(want) {
				t.Errorf("read %d bytes, %v, want %v", len(got), err, c.want)
			}
			if err != nil && !strings.Contains(err.Error(), "the line is dead") {
				t.Errorf("rclone's own words are not in: %v", err)
			}
		})
	}
}

func TestPutsThatFail(t *testing.T) {
	for name, c := range map[string]struct{ command, script, want string }{
		"sending is killed":          {"rcat", `head -c 100000 | "$REAL" "$@"; kill -9 $$`, "exit code -1"},
		"sending is refused":         {"rcat", `echo "2026/11/25 08:44:52 Failed to rcat: quota exceeded" >&2; exit 1`, "rclone: quota exceeded"},
		"moving fails":               {"moveto", `echo "2026/11/25 08:44:52 Failed to moveto: no" >&2; exit 1`, "rclone: no"},
		"moving does nothing":        {"moveto", `exit 0`, "does not say why"},
		"nothing is done in earnest": {"rcat", `exec "$REAL" "$@" --dry-run`, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			configure(t)
			dir := t.TempDir()
			disturb(t, c.command, c.script)
			s := openAt(t, dir)
			err := s.Put(t.Context(), "key", bytes.NewReader(targetstest.Random(1<<20)))
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("put: %v, want %q", err, c.want)
			}
			if keys := list(t, s, ""); keys != nil {
				t.Errorf("there are %q", keys)
			}
			wantNoPartials(t, dir)
		})
	}
}

// The answer to a move may be lost.
func TestAMoveThatFailsWhenItIsDone(t *testing.T) {
	configure(t)
	dir := t.TempDir()
	disturb(t, "moveto", `"$REAL" "$@"; exit 1`)
	s := openAt(t, dir)
	if err := s.Put(t.Context(), "key", strings.NewReader("content")); err != nil {
		t.Error(err)
	}
	if got, err := targetstest.Read(t, s, "key"); err != nil || string(got) != "content" {
		t.Errorf("get: %q, %v", got, err)
	}
}

// Check looks whether it can write, and takes away what was left long ago, and nothing else.
func TestCheck(t *testing.T) {
	configure(t)
	dir := t.TempDir()
	s := openAt(t, dir)
	old, fresh := filepath.Join(dir, targets.Partials, "old"), filepath.Join(dir, targets.Partials, "fresh")
	write(t, old, "x")
	write(t, fresh, "x")
	write(t, filepath.Join(dir, "host/kept"), "x")
	longAgo := time.Now().Add(-72 * time.Hour)
	for _, path := range []string{old, filepath.Join(dir, "host/kept")} {
		if err := os.Chtimes(path, longAgo, longAgo); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("what was left long ago is there: %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, targets.Partials)); err != nil || len(left) != 1 || left[0].Name() != "fresh" {
		t.Errorf("of what is being sent there are %v, %v", left, err)
	}
	if keys := list(t, s, ""); len(keys) != 1 {
		t.Errorf("listed %q", keys)
	}
}

func TestWhatKeepsATargetFromBeingUsed(t *testing.T) {
	configure(t)
	readOnly := t.TempDir()
	for name, c := range map[string]struct {
		env  map[string]string
		path string
		want string
	}{
		"a kind without move": {map[string]string{"RCLONE_CONFIG_NAS_TYPE": "http", "RCLONE_CONFIG_NAS_URL": "http://127.0.0.1:1"}, "/x", "neither move nor copy"},
		"a file in its place": {nil, readOnly + "/file/x", "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, filepath.Join(readOnly, "file"), "")
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			if err := openAt(t, c.path).Check(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("check: %v, want %q", err, c.want)
			}
		})
	}
	t.Run("no such remote", func(t *testing.T) {
		s, err := Open(&url.URL{Scheme: "rclone", Opaque: "nsa:/x"})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "rclone listremotes") {
			t.Errorf("check: %v", err)
		}
	})
	t.Run("no rclone", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if _, err := Open(&url.URL{Scheme: "rclone", Opaque: "nas:/x"}); err == nil || !strings.Contains(err.Error(), "install it") {
			t.Errorf("open: %v", err)
		}
	})
}

// What is left of a download ends with it.
func TestACloseBeforeTheEnd(t *testing.T) {
	configure(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "key"), string(targetstest.Random(4<<20)))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := openAt(t, dir).Get(ctx, "key", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 10)); err != nil {
		t.Error(err)
	}
	process := r.(*targets.Reading).Body.(*output).process
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if process.ProcessState == nil {
		t.Error("rclone still runs")
	}
}

func TestHostileListings(t *testing.T) {
	for name, c := range map[string]struct {
		listing string
		want    []string
		err     string
	}{
		"other people's things": {`[{"Path":"../../c","Size":1},{"Path":"/b","Size":1},{"Path":"a//b","Size":1},{"Path":"a\u0000","Size":1},{"Path":"doc","Size":-1},` +
			`{"Path":"dir","Size":1,"IsDir":true},{"Path":"good","Size":1}]`, []string{"a/good"}, ""},
		"nothing":                {`[]`, nil, ""},
		"one twice":              {`[{"Path":"x","Size":1},{"Path":"x","Size":2}]`, nil, "rclone dedupe"},
		"cut off":                {`[{"Path":"x","Size":1},`, nil, "unexpected EOF"},
		"cut off after an item":  {`[{"Path":"x","Size":1}`, nil, "unexpected EOF"},
		"no listing but a novel": {`It was a dark and stormy night`, nil, "invalid character"},
		"another document":       {`{"Path":"x"}`, nil, "where ["},
	} {
		t.Run(name, func(t *testing.T) {
			configure(t)
			disturb(t, "lsjson", "cat <<'END'\n"+c.listing+"\nEND")
			var got []string
			var err error
			for o, listErr := range openAt(t, t.TempDir()).List(t.Context(), "a/") {
				if err = listErr; err == nil {
					got = append(got, o.Key)
				}
			}
			if !slices.Equal(got, c.want) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("listed %q, %v, want %q, %q", got, err, c.want, c.err)
			}
		})
	}
}
