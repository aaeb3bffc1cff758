package archive

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// tarOf is a tar by another writer.
func tarOf(t testing.TB, all ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range all {
		data := h.Uname // stands in for the data, and is kept out of the header
		h.Uname, h.Size = "", int64(len(data))
		if h.Mode == 0 {
			h.Mode = 0o700
		}
		must(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, data)
		must(t, err)
	}
	must(t, w.Close())
	return out.Bytes()
}

func file(name, data string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Uname: data}
}
func folder(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir} }
func link(kind byte, name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: kind, Linkname: to}
}

func TestNothingOutsideIsTouched(t *testing.T) {
	for name, c := range map[string]struct {
		members []tar.Header
		refused string // in the error; "" where the entry is restored, or listed as skipped
	}{
		"absolute name":                           {[]tar.Header{file("/tmp/x", "evil")}, `"/tmp/x": absolute name`},
		"dots":                                    {[]tar.Header{file("../canary", "evil")}, `"../canary": name that leads out`},
		"dots after a dot":                        {[]tar.Header{file("./../canary", "evil")}, `"./../canary": name that leads out`},
		"dots inside":                             {[]tar.Header{file("a/../../canary", "evil")}, `"a/../../canary": malformed name`},
		"dots at the end":                         {[]tar.Header{folder("a/..")}, `malformed name`},
		"empty component":                         {[]tar.Header{file("a//b", "evil")}, `malformed name`},
		"root that is a file":                     {[]tar.Header{file(".", "evil")}, `the root, but a file`},
		"file through a symlink":                  {[]tar.Header{link(tar.TypeSymlink, "l", ".."), file("l/canary", "evil")}, `"l/canary"`},
		"folder through a symlink":                {[]tar.Header{link(tar.TypeSymlink, "l", ".."), folder("l/new")}, `"l/new"`},
		"through two symlinks":                    {[]tar.Header{folder("d"), link(tar.TypeSymlink, "d/l", "../.."), link(tar.TypeSymlink, "m", "d/l"), file("m/canary", "evil")}, `"m/canary"`},
		"file in place of a symlink":              {[]tar.Header{link(tar.TypeSymlink, "l", "../canary"), file("l", "mine")}, ""},
		"folder in place of a symlink":            {[]tar.Header{link(tar.TypeSymlink, "l", ".."), folder("l"), file("l/canary", "mine")}, ""},
		"hard link to dots":                       {[]tar.Header{link(tar.TypeLink, "h", "../canary"), file("h", "evil")}, `hard link to "../canary"`},
		"hard link to absolute":                   {[]tar.Header{link(tar.TypeLink, "h", "/etc/passwd")}, `hard link to "/etc/passwd"`},
		"hard link through a symlink":             {[]tar.Header{link(tar.TypeSymlink, "l", ".."), link(tar.TypeLink, "h", "l/canary")}, `"h"`},
		"hard link to a symlink, then through it": {[]tar.Header{link(tar.TypeSymlink, "l", "../canary"), link(tar.TypeLink, "h", "l"), file("h", "mine")}, ""},
		"hard link to nothing":                    {[]tar.Header{link(tar.TypeLink, "h", "not there")}, ""},
		"hard link to itself":                     {[]tar.Header{file("h", "1"), link(tar.TypeLink, "h", "h")}, `itself`},
		"hard link to a folder":                   {[]tar.Header{folder("d"), link(tar.TypeLink, "h", "d")}, ""},
		"symlink says nothing":                    {[]tar.Header{link(tar.TypeSymlink, "l", "")}, `a symlink to ""`},
		"fifo with a file's name":                 {[]tar.Header{file("f", "1"), {Name: "f", Typeflag: tar.TypeFifo}, file("f", "2")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			work := t.TempDir()
			dir := filepath.Join(work, "dir")
			write(t, work, map[string]string{"canary": "sings"})
			must(t, os.Mkdir(dir, 0o755))
			before, err := os.Stat(work)
			must(t, err)
			_, err = Extract(t.Context(), bytes.NewReader(framed(tarOf(t, c.members...))), dir, ExtractOptions{})
			if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
				t.Errorf("got %v, want %q", err, c.refused)
			}
			if got, err := os.ReadFile(filepath.Join(work, "canary")); string(got) != "sings" {
				t.Errorf("canary is %q, %v", got, err)
			}
			if after, err := os.Stat(work); err != nil || !after.ModTime().Equal(before.ModTime()) {
				t.Errorf("the folder outside was changed, %v", err)
			}
		})
	}
}

func TestTheLaterOfTwoMembersWins(t *testing.T) {
	for name, c := range map[string]struct {
		members []tar.Header
		want    string // paths, with the contents of files
	}{
		"file after file":                         {[]tar.Header{file("f", "1"), file("f", "22")}, "f=22"},
		"file after folder with files":            {[]tar.Header{folder("d"), file("d/x", "1"), file("d", "2")}, "d=2"},
		"folder after file":                       {[]tar.Header{file("d", "1"), folder("d"), file("d/x", "2")}, "d d/x=2"},
		"folder after folder keeps what is in it": {[]tar.Header{folder("d"), file("d/x", "1"), folder("d"), file("d/y", "2")}, "d d/x=1 d/y=2"},
		"symlink after folder":                    {[]tar.Header{folder("d/e"), link(tar.TypeSymlink, "d", "x")}, "d"},
		"hard link after file":                    {[]tar.Header{file("a", "1"), file("b", "2"), link(tar.TypeLink, "b", "a")}, "a=1 b=1"},
		"replacing one name leaves the other":     {[]tar.Header{file("a", "1"), link(tar.TypeLink, "b", "a"), file("a", "2")}, "a=2 b=1"},
		"folders that have no members":            {[]tar.Header{file("a/b/c", "1")}, "a a/b a/b/c=1"},
		"any order":                               {[]tar.Header{file("a/b", "1"), file("c", "2"), file("a/d", "3"), folder("a")}, "a a/b=1 a/d=3 c=2"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := Extract(t.Context(), bytes.NewReader(framed(tarOf(t, c.members...))), dir, ExtractOptions{})
			must(t, err)
			if got := tell(t, dir); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// tell lists paths, with the contents of files.
func tell(t testing.TB, dir string) string {
	var all []string
	for _, p := range paths(t, dir) {
		if st, err := os.Lstat(filepath.Join(dir, p)); err == nil && st.Mode().IsRegular() {
			data, err := os.ReadFile(filepath.Join(dir, p))
			must(t, err)
			p += "=" + string(data)
		}
		all = append(all, p)
	}
	return strings.Join(all, " ")
}

func TestAFolderEnteredAgainKeepsItsTime(t *testing.T) {
	when := time.Unix(1_500_000_000, 0)
	d := folder("d")
	d.ModTime = when
	dir := t.TempDir()
	_, err := Extract(t.Context(), bytes.NewReader(framed(tarOf(t, d, file("z", "1"), file("d/late", "2")))), dir, ExtractOptions{})
	must(t, err)
	if st, err := os.Stat(filepath.Join(dir, "d")); err != nil || !st.ModTime().Equal(when) {
		t.Errorf("time %v, %v", st.ModTime(), err)
	}
}

func TestASelectionBringsItsFoldersAndNothingElse(t *testing.T) {
	src := t.TempDir()
	write(t, src, map[string]string{"a/b/c": "1", "a/b/d": "2", "a/e": "3", "f": "4", "g/h": "5"})
	must(t, os.Link(filepath.Join(src, "f"), filepath.Join(src, "g/linked")))
	must(t, os.Chmod(filepath.Join(src, "a"), 0o711))
	setTime(t, filepath.Join(src, "a"), time.Unix(1_400_000_000, 0))
	data, _ := archived(t, src, Options{Level: Fastest})
	for name, c := range map[string]struct {
		paths   []string
		want    string
		skipped int64
	}{
		"a file":                    {[]string{"a/b/c"}, "a a/b a/b/c=1", 0},
		"a folder":                  {[]string{"a/b"}, "a a/b a/b/c=1 a/b/d=2", 0},
		"all in a folder":           {[]string{"a/**"}, "a a/b a/b/c=1 a/b/d=2 a/e=3", 0},
		"several":                   {[]string{"f", "g/h"}, "f=4 g g/h=5", 0},
		"nothing":                   {[]string{"x"}, "", 0},
		"the root is everything":    {[]string{"."}, "a a/b a/b/c=1 a/b/d=2 a/e=3 f=4 g g/h=5 g/linked=4", 0},
		"a link without its target": {[]string{"g"}, "g g/h=5", 1},
		"a link with its target":    {[]string{"f", "g/linked"}, "f=4 g g/linked=4", 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			rep, err := Extract(t.Context(), bytes.NewReader(data), dir, ExtractOptions{Paths: c.paths})
			must(t, err)
			if got := tell(t, dir); got != c.want || rep.SkippedTotal != c.skipped {
				t.Errorf("got %q, %d skipped", got, rep.SkippedTotal)
			}
			if st, err := os.Stat(filepath.Join(dir, "a")); err == nil && (st.Mode().Perm() != 0o711 || st.ModTime().Unix() != 1_400_000_000) {
				t.Errorf("folder above has mode %v, time %v", st.Mode(), st.ModTime())
			}
		})
	}
}

func TestNoACLComesInFromTheDestination(t *testing.T) {
	src := t.TempDir()
	write(t, src, map[string]string{"f": "1", "d/f": "2", "d/large": strings.Repeat("x", smallSize+1), "own/f": "3"})
	must(t, unix.Mkfifo(filepath.Join(src, "d/pipe"), 0o600))
	must(t, os.Symlink("x", filepath.Join(src, "d/link")))
	must(t, unix.Lsetxattr(filepath.Join(src, "own"), aclDefault, []byte(acl(7, 1001, 4)), 0))
	data, _ := archived(t, src, Options{})
	for name, paths := range map[string][]string{"everything": nil, "some of it": {"d", "f", "own"}} {
		t.Run(name, func(t *testing.T) {
			dst := t.TempDir()
			must(t, unix.Lsetxattr(dst, aclDefault, []byte(acl(7, 1000, 5)), 0))
			must(t, os.Mkdir(filepath.Join(dst, "d"), 0o755)) // has inherited it
			_, err := Extract(t.Context(), bytes.NewReader(data), dst, ExtractOptions{Paths: paths})
			must(t, err)
			want, got := describe(t, src), describe(t, dst)
			if paths != nil { // the root was not asked for
				delete(want, ".")
				delete(got, ".")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error("restored differs (-want +got)\n", diff)
			}
			if kept := len(xattrsOf(t, dst)) > 0; kept != (paths != nil) {
				t.Errorf("the destination's own ACL is there: %v", kept)
			}
		})
	}
}
