package restore_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/restore"
)

func TestToDir(t *testing.T) {
	occupied := tree{"mine": "keep out"}
	for name, c := range map[string]struct {
		there tree // in the folder before; nil is no folder
		ask   func(*restore.Request)
		want  error
		left  bool
	}{
		"into a folder that is not there":  {},
		"into an empty folder":             {there: tree{}},
		"into a folder with something":     {there: occupied, want: restore.ErrNotEmpty},
		"left alone as was asked":          {there: occupied, ask: func(r *restore.Request) { r.IfEmpty = true }, left: true},
		"filled as it was empty":           {there: tree{}, ask: func(r *restore.Request) { r.IfEmpty = true }},
		"parts that the snapshot has not":  {ask: func(r *restore.Request) { r.Paths = []string{"nope/**"} }, want: restore.ErrNothing},
		"more than the disk can hold":      {there: tree{}, ask: func(r *restore.Request) { r.Snapshot.Archives[0].Plain = 1 << 62 }, want: syscall.ENOSPC},
		"an archive that is gone":          {ask: func(r *restore.Request) { r.Snapshot.Archives[0].ID = "20261123T030000Z-00000000" }, want: archive.ErrDamaged},
		"a pattern that is none":           {ask: func(r *restore.Request) { r.Paths = []string{""} }, want: errAny},
		"an archive of another's manifest": {ask: func(r *restore.Request) { r.Snapshot.Archives[0].Directory[3] ^= 1 }, want: archive.ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			dir := filepath.Join(t.TempDir(), "out")
			var before map[string]string
			if c.there != nil {
				must(t, os.Mkdir(dir, 0o751))
				plant(t, dir, c.there)
				before = look(t, dir)
			}
			if c.ask != nil {
				c.ask(&w.request)
			}
			result, err := w.runner.ToDir(t.Context(), w.request, dir)
			if result.Left != c.left || (err == nil) != (c.want == nil) || c.want != nil && c.want != errAny && !errors.Is(err, c.want) {
				t.Fatalf("left alone: %v, error: %v", result.Left, err)
			}
			want := before
			if c.want == nil && !c.left {
				want = look(t, w.source)
			}
			if _, err := os.Lstat(dir); want == nil {
				if !os.IsNotExist(err) {
					t.Errorf("the folder that was made is still there (%v)", err)
				}
				return
			}
			if diff := cmp.Diff(want, look(t, dir)); diff != "" {
				t.Errorf("what is in the folder (-want +got):\n%s", diff)
			}
		})
	}
}

// errAny stands for an error of no particular kind.
var errAny = errors.New("any error")

func TestPartsOfASnapshot(t *testing.T) {
	w := newWorld(t)
	w.request.Paths = []string{"data/e*", "conf"}
	w.request.Snapshot.Archives[0].Plain = 1 << 62 // what parts take is not known before
	dir := t.TempDir()
	result, err := w.runner.ToDir(t.Context(), w.request, dir)
	must(t, err)
	if result.Report.Entries != 2 {
		t.Errorf("%d entries restored", result.Report.Entries)
	}
	for path, want := range map[string]bool{"data/empty": true, "conf": true, "data/base": false, "a": false} {
		if _, err := os.Lstat(filepath.Join(dir, path)); (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestTheFolderToRestoreToIsNoFolder(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, []byte("mine"), 0o600))
	for _, dir := range []string{file, filepath.Join(file, "below"), filepath.Join(t.TempDir(), "not", "there"), ""} {
		if _, err := w.runner.ToDir(t.Context(), w.request, dir); err == nil {
			t.Errorf("restored to %q", dir)
		}
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "mine" {
		t.Errorf("the file holds %q (%v)", data, err)
	}
}

// frames gives where the frames of an archive end: each begins with the magic number of zstd (RFC 8878), which no frame of the test
// has inside by chance.
func frames(data []byte) (ends []int) {
	magic := []byte{0x28, 0xb5, 0x2f, 0xfd}
	for i := 1; i+4 <= len(data); i++ {
		if slices.Equal(data[i:i+4], magic) {
			ends = append(ends, i)
		}
	}
	return ends
}

// damages are ways in which what is stored can go bad.
var damages = map[string]func([]byte) []byte{
	"a bit of the first frame":   func(d []byte) []byte { d[20] ^= 4; return d },
	"a bit in the middle":        func(d []byte) []byte { d[len(d)/2] ^= 1; return d },
	"the last bit":               func(d []byte) []byte { d[len(d)-1] ^= 1; return d },
	"cut between two frames":     func(d []byte) []byte { return d[:frames(d)[1]] },
	"cut before the last frame":  func(d []byte) []byte { ends := frames(d); return d[:ends[len(ends)-1]] },
	"cut inside a frame":         func(d []byte) []byte { return d[:len(d)-7] },
	"empty":                      func([]byte) []byte { return nil },
	"a byte longer":              func(d []byte) []byte { return append(d, 0) },
	"twice as long":              func(d []byte) []byte { return append(d, d...) },
	"a skippable frame appended": func(d []byte) []byte { return append(d, 0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 'x') },
	"of something else":          func([]byte) []byte { return []byte("<html>quota exceeded</html>") },
}

func TestDamageIsFoundAndNothingOfItStays(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.damage(damage)
			old := w.volume(t, "app", tree{"old/file": "the only copy"})
			db := w.container("app", container("db"), false)
			before := look(t, old.Mountpoint)
			dir := filepath.Join(t.TempDir(), "out")

			_, toDir := w.runner.ToDir(t.Context(), w.request, dir)
			_, toVolume := w.runner.ToVolume(t.Context(), w.request, "fresh", nil)
			_, inPlace := w.inPlace(t, old)
			for what, err := range map[string]error{"to a folder": toDir, "to a volume": toVolume, "in place": inPlace} {
				if !errors.Is(err, archive.ErrDamaged) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if _, err := os.Lstat(dir); !os.IsNotExist(err) {
				t.Errorf("the folder is still there (%v)", err)
			}
			if _, err := w.eng.Volume(t.Context(), "fresh"); err == nil {
				t.Error("the volume is still there")
			}
			if diff := cmp.Diff(before, look(t, old.Mountpoint)); diff != "" {
				t.Errorf("the volume changed in place (-before +after):\n%s", diff)
			}
			if now, err := w.eng.Container(t.Context(), db.ID); err != nil || !now.Started.Equal(db.Started) {
				t.Errorf("a container was stopped for nothing (%v)", err)
			}
			wantNothingLeft(t, old.Mountpoint)
		})
	}
}
