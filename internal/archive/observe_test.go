package archive

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// seer is an observer that wants to see the beginning of all there is.
type seer struct {
	members []string
	heads   map[string]string
}

func (s *seer) Member(e Entry) bool {
	s.members = append(s.members, fmt.Sprintf("%s %s %d", e.Kind, e.Path, e.Size))
	return true
}

func (s *seer) Head(path string, head []byte) { s.heads[path] += string(head) }

func TestAnObserverSeesWhatGoesIntoTheArchive(t *testing.T) {
	cloning(t, func(t *testing.T, dir, beside string) {
		manySizes(t, dir)
		write(t, dir, map[string]string{"a/tiny": "tiny", "a/empty": "", "excluded/x": "x"})
		must(t, os.Link(filepath.Join(dir, "a/tiny"), filepath.Join(dir, "link")))
		must(t, os.Symlink("a", filepath.Join(dir, "symlink")))
		// Of whatever size those before it are, and so in whatever place of a frame they begin.
		for i := range 40 {
			noise(t, filepath.Join(dir, fmt.Sprintf("b%02d", i)), 30_000+i*11)
		}
		want := map[string]string{}
		data, _ := archived(t, dir, Options{Exclude: []string{"excluded"}})
		var members []string
		r := reader(t, data)
		for _, e := range listed(t, r, ".") {
			members = append(members, fmt.Sprintf("%s %s %d", e.Kind, e.Path, e.Size))
			if e.Kind == File && e.Size > 0 && e.Path != "nothing but a hole" {
				text := readFile(t, r, e.Path)
				want[e.Path] = text[:min(len(text), HeadSize)]
			}
		}
		for name, o := range map[string]Options{
			"read": {}, "cloned": {Clones: beside}, "cloned, with a queue that is drained over and over": {Clones: beside, Ahead: 1 << 20},
		} {
			t.Run(name, func(t *testing.T) {
				saw := &seer{heads: map[string]string{}}
				o.Exclude, o.Observer, o.Scratch = []string{"excluded"}, saw, t.TempDir()
				same, _ := archived(t, dir, o)
				if string(same) != string(data) {
					t.Error("the archive is another one when it is observed")
				}
				if diff := cmp.Diff(members, saw.members); diff != "" {
					t.Error("members (-want +got):\n" + diff)
				}
				if diff := cmp.Diff(want, saw.heads); diff != "" {
					t.Error("first bytes (-want +got):\n" + diff)
				}
			})
		}
	})
}

func TestAnObserverThatWantsNothingIsToldNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "data", "b": "data"})
	saw := only{&seer{heads: map[string]string{}}, "b"}
	archived(t, dir, Options{Observer: saw})
	if diff := cmp.Diff(map[string]string{"b": "data"}, saw.heads); diff != "" {
		t.Error("first bytes (-want +got):\n" + diff)
	}
}

// only wants to see one file.
type only struct {
	*seer
	path string
}

func (o only) Member(e Entry) bool { return e.Path == o.path }
