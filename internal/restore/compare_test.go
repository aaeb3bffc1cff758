package restore_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/restore"
)

// changes gathers what a comparison tells.
func changes(all *[]string) func(archive.Change) error {
	return func(c archive.Change) error {
		*all = append(*all, c.Path+" "+c.What.String())
		return nil
	}
}

func TestWhatARestoreWouldChange(t *testing.T) {
	everything := []string{". added", "a added", "a/b added", "a/b/c added", "conf added", "data added", "data/base added", "data/empty added", "new\nline\t added"}
	size := int64(len(stored["data/base"]) + len(stored["conf"]) + len(stored["new\nline\t"]))
	for name, c := range map[string]struct {
		there func(t *testing.T, dir string) // nil: no folder at all
		paths []string
		want  []string
		sum   restore.Comparison
	}{
		"nothing is there": {want: everything, sum: restore.Comparison{New: 9, Bytes: size}},
		"the same": {
			there: func(t *testing.T, dir string) {},
			sum:   restore.Comparison{Same: 9, Bytes: size, Filled: true},
		},
		"new, changed and gone": {
			there: func(t *testing.T, dir string) {
				must(t, os.Remove(filepath.Join(dir, "conf")))
				must(t, os.Chmod(filepath.Join(dir, "data/empty"), 0o600))
				plant(t, dir, tree{"b": "mine"})
				must(t, os.Chtimes(dir, time.Unix(1000, 7), time.Unix(2000, 9)))
			},
			want: []string{"b removed", "conf added", "data/empty mode"},
			sum:  restore.Comparison{New: 1, Changed: 1, Gone: 1, Same: 7, Bytes: size, Filled: true},
		},
		"a part": {
			there: func(t *testing.T, dir string) {
				must(t, os.Remove(filepath.Join(dir, "conf")))
				plant(t, dir, tree{"b": "mine", "data/mine": ""})
				must(t, os.Remove(filepath.Join(dir, "data/empty")))
			},
			paths: []string{"data/**"},
			want:  []string{"data/empty added"}, // and nothing is gone: it goes among what is there
			sum:   restore.Comparison{New: 1, Same: 1, Bytes: int64(len(stored["data/base"])), Filled: true},
		},
		"a part, in the way of which is something else": {
			there: func(t *testing.T, dir string) {
				must(t, errors.Join(os.Remove(filepath.Join(dir, "data/empty")), os.Chmod(filepath.Join(dir, "a"), 0o700)))
				plant(t, dir, tree{"data/empty/deep/file": "mine", "data/empty-": "mine"})
			},
			paths: []string{"data", "a"},
			want:  []string{"data/empty kind,mode,time", "data/empty/deep removed", "data/empty/deep/file removed"},
			sum:   restore.Comparison{Changed: 1, Gone: 2, Same: 5, Bytes: int64(len(stored["data/base"])), Filled: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.request.Paths = c.paths
			dir := filepath.Join(t.TempDir(), "none")
			if c.there != nil {
				dir = w.source // as it was when it was backed up, and then changed
				c.there(t, dir)
			}
			var all []string
			sum, err := restore.CompareDir(t.Context(), w.request, dir, changes(&all))
			must(t, err)
			if diff := cmp.Diff(c.want, all); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.sum, sum); diff != "" {
				t.Errorf("in all (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAVolumeIsComparedWithoutBeingTouched(t *testing.T) {
	w := newWorld(t)
	v := w.volume(t, "app", tree{"conf": "port=2", "mine": ""})
	before := look(t, v.Mountpoint)
	var all []string
	sum, err := w.runner.CompareVolume(t.Context(), w.request, "app", changes(&all))
	must(t, err)
	if sum.New != 7 || sum.Gone != 1 || sum.Changed != 2 || !sum.Filled {
		t.Errorf("%+v: %q", sum, all)
	}
	if diff := cmp.Diff(before, look(t, v.Mountpoint)); diff != "" {
		t.Errorf("it changed (-before +after):\n%s", diff)
	}
	w.request.Paths = []string{"nope"}
	if _, err := w.runner.CompareVolume(t.Context(), w.request, "fresh", changes(&all)); !errors.Is(err, restore.ErrNothing) {
		t.Errorf("error is %v", err)
	}
	if _, err := w.eng.Volume(t.Context(), "fresh"); err == nil {
		t.Error("a volume was made")
	}
}

// What is told is what is done: after a restore in place nothing of it is left to do.
func TestARestoreDoesWhatAComparisonTells(t *testing.T) {
	for name, paths := range map[string][]string{"all": nil, "a part": {"data", "new*"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			v := w.volume(t, "app", tree{"conf": "port=2", "data/empty/deep/file": "mine", "data/base": "changed", "mine": ""})
			w.request.Paths = paths
			var told, left []string
			_, err := w.runner.CompareVolume(t.Context(), w.request, "app", changes(&told))
			must(t, err)
			before := look(t, v.Mountpoint)
			_, err = w.inPlace(t, v)
			must(t, err)
			after := look(t, v.Mountpoint)
			for _, seen := range []map[string]string{before, after} {
				for path := range seen {
					if !slices.ContainsFunc(told, func(s string) bool { return strings.HasPrefix(s, path+" ") }) && before[path] != after[path] && path != "." && path != "data" {
						t.Errorf("%q has changed, which was not told", path)
					}
				}
			}
			sum, err := w.runner.CompareVolume(t.Context(), w.request, "app", changes(&left))
			must(t, err)
			if len(left) > 0 || len(told) == 0 || sum.Same == 0 {
				t.Errorf("told %q, and left %q", told, left)
			}
		})
	}
}
