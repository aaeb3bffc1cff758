package dir_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/dir"
)

func open(t *testing.T) (*dir.Source, string) {
	t.Helper()
	root := t.TempDir()
	s, err := dir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return s, root
}

func names(t *testing.T, s *dir.Source) []string {
	t.Helper()
	volumes, err := s.Volumes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, v := range volumes {
		found = append(found, v.Name)
	}
	return found
}

func TestFoldersAreVolumes(t *testing.T) {
	s, root := open(t)
	for _, name := range []string{"db", ".hidden", "two\nlines", "not\xffutf8", "lost+found", ".lost+found", "db/inner"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("db", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	want := []string{".hidden", "db", "not\xffutf8", "two\nlines"}
	if got := names(t, s); !slices.Equal(got, want) {
		t.Fatalf("volumes %q, want %q", got, want)
	}
	for _, name := range want {
		v, err := s.Volume(t.Context(), name)
		if err != nil || v.Name != name || v.Driver != dir.Driver || v.Mountpoint != filepath.Join(root, name) {
			t.Errorf("volume %q: %+v, %v", name, v, err)
		}
	}
}

func TestNoOtherNameIsAVolume(t *testing.T) {
	s, root := open(t)
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", "..", "../" + filepath.Base(root), "absent", "file", "link", "a/b", "/etc", "nul\x00", "lost+found"} {
		if _, err := s.Volume(t.Context(), name); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("volume %q: %v, want not found", name, err)
		}
		if err := s.RemoveVolume(t.Context(), name); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("remove volume %q: %v, want not found", name, err)
		}
	}
}

func TestCreateTakesNothingThatIsThere(t *testing.T) {
	s, root := open(t)
	made, err := s.CreateVolume(t.Context(), engine.Volume{Name: "new", Driver: "local", Labels: map[string]string{"a": "b"}})
	if err != nil || made.Mountpoint != filepath.Join(root, "new") || made.Driver != dir.Driver || made.Labels != nil {
		t.Fatalf("create: %+v, %v", made, err)
	}
	if _, err := s.CreateVolume(t.Context(), engine.Volume{Name: "new"}); !errors.Is(err, engine.ErrConflict) {
		t.Errorf("create again: %v, want a conflict", err)
	}
	for _, name := range []string{"", "..", "a/b", "../out"} {
		if _, err := s.CreateVolume(t.Context(), engine.Volume{Name: name}); err == nil {
			t.Errorf("created a volume named %q", name)
		}
	}
}

func TestRemoveSparesContent(t *testing.T) {
	s, root := open(t)
	for _, name := range []string{"empty", "full", "full/file"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.RemoveVolume(t.Context(), "empty"); err != nil {
		t.Error(err)
	}
	if err := s.RemoveVolume(t.Context(), "full"); !errors.Is(err, engine.ErrConflict) {
		t.Errorf("remove a volume with content: %v, want a conflict", err)
	}
	if got := names(t, s); !slices.Equal(got, []string{"full"}) {
		t.Errorf("left: %q", got)
	}
}

func TestOnlyAFolderOpens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, file + "-absent"} {
		if _, err := dir.Open(path); err == nil {
			t.Errorf("opened %s", path)
		}
	}
}

func TestEventsEndWithTheContext(t *testing.T) {
	s, _ := open(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	cancel(why)
	for _, err := range s.Events(ctx, time.Time{}) {
		if !errors.Is(err, why) {
			t.Errorf("events ended with %v", err)
		}
	}
}
