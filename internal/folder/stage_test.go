package folder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/testenv"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// words is a source of one file.
type words string

func (w words) Size() int64 { return int64(len(w)) }

func (w words) Part() bool { return false }

func (w words) Extract(_ context.Context, dir string) (archive.Report, error) {
	return archive.Report{Entries: 1}, os.WriteFile(filepath.Join(dir, "file"), []byte(w), 0o600)
}

func (w words) Send(context.Context, func(io.Reader, archive.ExtractOptions) (archive.Report, error)) (archive.Report, error) {
	panic("nothing is sent")
}

func staged(t *testing.T, f Folder, w words) *Stage {
	t.Helper()
	s, _, err := f.Stage(t.Context(), w)
	must(t, err)
	return s
}

// die has the stage look as if whoever made it was killed.
func (s *Stage) die(t *testing.T) {
	t.Helper()
	must(t, s.lock.Unlock())
}

func volume(t *testing.T, beside bool) Folder {
	t.Helper()
	f := At(filepath.Join(t.TempDir(), "_data"), beside)
	must(t, os.Mkdir(f.Path(), 0o755))
	must(t, os.WriteFile(filepath.Join(f.Path(), "file"), []byte("old"), 0o600))
	return f
}

func forBoth(t *testing.T, test func(t *testing.T, f Folder)) {
	for name, beside := range map[string]bool{"beside": true, "inside": false} {
		t.Run(name, func(t *testing.T) { test(t, volume(t, beside)) })
	}
}

func TestWhatAKilledRestoreLeftGoesWithTheNext(t *testing.T) {
	forBoth(t, func(t *testing.T, f Folder) {
		was, err := os.Stat(f.Path())
		must(t, err)
		dead := staged(t, f, "of the dead")
		dead.die(t)
		s := staged(t, f, "new")
		if _, err := os.Stat(dead.Where()); !os.IsNotExist(err) {
			t.Errorf("the stage of the dead: %v", err)
		}
		is, err := os.Stat(f.Path())
		must(t, err)
		if !was.ModTime().Equal(is.ModTime()) {
			t.Error("the volume's folder seems to have changed")
		}
		must(t, s.Exchange(t.Context()))
		if got, err := os.ReadFile(filepath.Join(f.Path(), "file")); string(got) != "new" {
			t.Errorf("the volume holds %q, %v", got, err)
		}
		must(t, errors.Join(s.Discard(t.Context()), s.Close(t.Context())))
		wantStages(t, f)
	})
}

func TestAStageInUseIsLeftAlone(t *testing.T) {
	forBoth(t, func(t *testing.T, f Folder) {
		first := staged(t, f, "first")
		second := staged(t, f, "second")
		wantStages(t, f, first, second)
		must(t, first.Close(t.Context()))
		must(t, second.Close(t.Context()))
		wantStages(t, f)
	})
}

func TestStagesAreNotArchived(t *testing.T) {
	f := volume(t, false)
	defer func(s *Stage) { must(t, s.Close(t.Context())) }(staged(t, f, "new"))
	var archived bytes.Buffer
	taking, err := f.Take(t.Context(), &archived, archive.Options{})
	must(t, err)
	defer taking.Close()
	sum, err := taking.Finish(t.Context())
	must(t, err)
	if sum.Entries != 2 {
		t.Errorf("%d entries were archived", sum.Entries)
	}
}

// wantStages fails the test unless just these are there.
func wantStages(t *testing.T, f Folder, want ...*Stage) {
	t.Helper()
	var got, dirs []string
	for _, place := range []string{f.Path(), filepath.Dir(f.Path())} {
		found, err := stagesIn(place, kinds)
		must(t, err)
		got = append(got, found...)
	}
	for _, s := range want {
		dirs = append(dirs, s.Where())
	}
	slices.Sort(got)
	slices.Sort(dirs)
	if !slices.Equal(got, dirs) {
		t.Errorf("stages %q, want %q", got, dirs)
	}
}

// A file system may run full at any step of making a stage.
func TestAStageThatCannotBeMadeLeavesNothing(t *testing.T) {
	testenv.Root(t)
	const made, all = 2, 7 // the root and the volume; and the stage, its lock, two folders and a link
	for inodes := made + 1; inodes <= all; inodes++ {
		t.Run(fmt.Sprint(inodes), func(t *testing.T) {
			dir := t.TempDir()
			must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("nr_inodes=%d", inodes)))
			defer func() { must(t, unix.Unmount(dir, 0)) }()
			f := At(filepath.Join(dir, "_data"), true)
			must(t, os.Mkdir(f.Path(), 0o755))
			s, err := f.newStage()
			switch {
			case inodes < all && !errors.Is(err, unix.ENOSPC):
				t.Errorf("error %v, want a full disk", err)
			case inodes == all:
				must(t, err)
				must(t, s.Close(t.Context()))
			}
			wantStages(t, f)
		})
	}
}
