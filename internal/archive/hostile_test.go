package archive

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// stream makes plain streams of members as the package's own writer would, and as it never would.
type stream struct{ plain []byte }

func (s *stream) add(t testing.TB, m member, data []byte) {
	var h headers
	blocks, err := h.of(&m)
	must(t, err)
	s.plain = append(append(s.plain, blocks...), data...)
	s.plain = append(s.plain, make([]byte, padding(int64(len(data))))...)
}

func (s *stream) end() []byte { return append(s.plain, make([]byte, 2*tarBlock)...) }

// hostileMember draws a member that may lie about anything: few names, so that members meet each other.
func hostileMember(rt *rapid.T) (m member, data []byte) {
	names := rapid.SampledFrom([]string{"a", "b", "a/a", "a/b", "b/a", "a/b/a", "a/b/c", "out", "out/canary", "link", "link/canary", "A", "b/a/a"})
	targets := rapid.SampledFrom([]string{".", "..", "../..", "/", "../canary", "../../canary", "a", "b", "a/b", "link", "out", "../dir/a"})
	m.Path = names.Draw(rt, "path")
	m.Mode = rapid.SampledFrom([]uint32{0o700, 0o755, 0o7777}).Draw(rt, "mode")
	m.Kind = rapid.SampledFrom([]Kind{File, File, Hardlink, Symlink, Symlink, Folder, Fifo, CharDevice}).Draw(rt, "kind")
	switch m.Kind {
	case Symlink:
		m.Linkname = targets.Draw(rt, "to")
	case Hardlink:
		m.Linkname = names.Draw(rt, "of")
	case CharDevice:
		m.major, m.minor = 1, 3
	case File:
		size := rapid.SampledFrom([]int{0, 5, tarBlock, smallSize + 1}).Draw(rt, "size")
		data = bytes.Repeat([]byte("evil "), size)[:size]
		m.Size = int64(size)
		if m.sparse = rapid.Bool().Draw(rt, "sparse"); m.sparse {
			m.Size += rapid.Int64Range(-1, 1<<40).Draw(rt, "hole")
			m.Size = max(m.Size, 0)
			at := rapid.Int64Range(0, 1<<41).Draw(rt, "at")
			data = append(segments{{at, int64(size)}}.text(at+int64(size)), data...)
		}
		m.stored = int64(len(data))
	}
	return m, data
}

// TestNoSequenceOfMembersReachesOutside extracts archives that nobody would make but to do harm, again and again into the same folder.
func TestNoSequenceOfMembersReachesOutside(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		work, err := os.MkdirTemp(t.TempDir(), "")
		must(t, err)
		defer os.RemoveAll(work)
		dir := filepath.Join(work, "dir")
		write(t, work, map[string]string{"canary": "sings", "dir/inside": "x"})
		must(t, os.Chmod(dir, 0o755))
		before, open := outside(t, work), descriptors(t)
		for range rapid.IntRange(1, 3).Draw(rt, "archives") {
			var s stream
			for range rapid.IntRange(1, 12).Draw(rt, "members") {
				m, data := hostileMember(rt)
				s.add(t, m, data)
			}
			stored := framed(s.end())
			o := ExtractOptions{KeepGoing: rapid.Bool().Draw(rt, "keep going")}
			if o.KeepGoing {
				stored[rapid.IntRange(0, len(stored)-1).Draw(rt, "damaged byte")] ^= 1
			}
			// It may be refused.
			_, _ = Extract(t.Context(), bytes.NewReader(stored), dir, o)
			if diff := cmp.Diff(before, outside(t, work)); diff != "" {
				rt.Fatal("outside (-before +after)\n", diff)
			}
			if left := descriptors(t) - open; left != 0 {
				rt.Fatalf("%d files are left open", left)
			}
		}
	})
}

// outside describes what is beside the folder dir, and the folder that both are in.
func outside(t testing.TB, work string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	entries, err := os.ReadDir(work)
	must(t, err)
	for _, e := range entries {
		all[e.Name()] = e.Type().String()
	}
	st, err := os.Stat(work)
	must(t, err)
	canary, err := os.Stat(filepath.Join(work, "canary"))
	must(t, err)
	text, err := os.ReadFile(filepath.Join(work, "canary"))
	must(t, err)
	all["."] = fmt.Sprint(st.Mode(), st.ModTime())
	all["canary"] = fmt.Sprint(string(text), canary.Mode(), canary.ModTime(), canary.Sys().(*syscall.Stat_t).Nlink)
	return all
}

// An index that is made to do harm, with digests that are right, names nothing outside of the archive: neither in listings nor when looked up.
func TestNoIndexNamesWhatIsOutside(t *testing.T) {
	for name, hostile := range map[string]entryRecord{
		"above":           {Rest: []byte("../evil")},
		"above, later":    {Rest: []byte("a/../../evil")},
		"put together so": {Shared: 1, Rest: []byte("/..")},
		"from the top":    {Rest: []byte("/etc/passwd")},
		"itself":          {Rest: []byte("a/./b")},
		"nothing":         {Rest: []byte("a//b")},
		"a zero byte":     {Rest: []byte("a\x00b")},
		"a link to above": {Rest: []byte("b"), Kind: Hardlink, Link: []byte("../evil")},
	} {
		t.Run(name, func(t *testing.T) {
			var block bytes.Buffer
			c, err := newCodec()
			must(t, err)
			for _, r := range []entryRecord{{Rest: []byte("a")}, hostile} {
				if r.Header = tarBlock; r.Kind == 0 {
					r.Kind = Folder
				}
				must(t, c.append(&block, &r))
			}
			data, err := rebuilt(t, entrySection, block.Bytes(), 2)
			must(t, err)
			r := reader(t, data)
			e, err := r.At(t.Context(), Position{0, 1})
			if !errors.Is(err, ErrDamaged) || strings.Contains(err.Error(), "comes after") || strings.Contains(err.Error(), "begins with") {
				t.Errorf("it has %q: %v", e.Path, err)
			}
			for e, err := range r.Children(t.Context(), Indexed{Entry: Entry{Path: "."}, position: Position{0, -1}}, Position{0, -1}) {
				if !errors.Is(err, ErrDamaged) {
					t.Errorf("%q is listed: %v", e.Path, err)
				}
			}
		})
	}
}
