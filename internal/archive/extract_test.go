package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/testenv"
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

// ends are the offsets at which frames of an archive end.
func ends(t testing.TB, data []byte) []int {
	t.Helper()
	var all []int
	l := newLine(1)
	r := bufio.NewReader(bytes.NewReader(data))
	for at := 0; ; {
		b, err := l.take(t.Context())
		must(t, err)
		if err := readFrame(r, b); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		at += len(b.stored)
		all = append(all, at)
		l.release(b)
	}
}

func TestACutOrLengthenedArchiveIsAnError(t *testing.T) {
	src := t.TempDir()
	write(t, src, map[string]string{"a": "1", "large": strings.Repeat("x", 2*frameSize+10), "z": "2"})
	whole, _ := archived(t, src, Options{Level: Fastest})
	read := func(data []byte) error {
		listing := List(t.Context(), bytes.NewReader(data), nil, func(Entry) error { return nil })
		_, extracting := Extract(t.Context(), bytes.NewReader(data), t.TempDir(), ExtractOptions{})
		if (listing == nil) != (extracting == nil) {
			t.Errorf("listing gives %v, extracting %v", listing, extracting)
		}
		return extracting
	}
	must(t, read(whole))
	frames := ends(t, whole)
	if last := frames[len(frames)-1]; len(frames) < 5 || last != len(whole) {
		t.Fatalf("%d frames, up to %d of %d bytes", len(frames), last, len(whole))
	}
	for _, end := range append([]int{0}, frames[:len(frames)-1]...) {
		for _, cut := range []int{end, end + 1, end + 6, end + 20} {
			if err := read(whole[:cut]); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("cut at %d of %d: %v", cut, len(whole), err)
			}
		}
	}
	skippable := "\x5a\x2a\x4d\x18\x03\x00\x00\x00abc"
	must(t, read(slices.Concat(whole, []byte(skippable))))
	must(t, read(slices.Concat([]byte(skippable), whole, []byte(skippable), []byte(skippable))))
	for name, tail := range map[string][]byte{
		"zeros": make([]byte, 100), "text": []byte("garbage that goes on for a while"), "another archive": whole,
		"a frame of zeros": framed(make([]byte, tarBlock)), "a skippable frame cut off": []byte(skippable[:9]),
	} {
		if err := read(slices.Concat(whole, tail)); err == nil {
			t.Errorf("%s after the end is not noticed", name)
		}
	}
}

func TestNoDamageChangesWhatIsRead(t *testing.T) {
	src := t.TempDir()
	write(t, src, map[string]string{"a": "1", "b": strings.Repeat("words and words ", 20000)})
	whole, _ := archived(t, src, Options{Level: Fastest})
	want, err := plainOf(t, whole)
	must(t, err)
	for i := range whole {
		bad := slices.Clone(whole)
		bad[i] ^= 0x10
		// Some bits of a zstd frame mean nothing.
		if got, err := plainOf(t, bad); err == nil && !bytes.Equal(got, want) {
			t.Errorf("a flipped bit in byte %d of %d changes the data without an error", i, len(whole))
		}
	}
}

// plainOf is the plain stream of an archive.
func plainOf(t testing.TB, data []byte) (plain []byte, err error) {
	err = unpack(t.Context(), bytes.NewReader(data), func(_ context.Context, r *tarReader) error {
		for {
			piece, err := r.plain.some(frameSize)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			plain = append(plain, piece...)
		}
	})
	return plain, err
}

func TestForeignFormatsAreRefused(t *testing.T) {
	plain := tarOf(t, file("a", "1"))
	edit := func(f func(b []byte)) []byte {
		b := slices.Clone(plain)
		f(b)
		octal(fieldChecksum.of(b)[:7], checksum(b))
		return b
	}
	for name, c := range map[string]struct {
		plain []byte
		want  string
	}{
		"GNU":              {edit(func(b []byte) { copy(fieldMagic.of(b), "ustar  \x00") }), "not pax"},
		"checksum":         {slices.Replace(slices.Clone(plain), 0, 1, 'b'), "wrong checksum"},
		"unknown type":     {edit(func(b []byte) { fieldType.of(b)[0] = 'S' }), "unknown type"},
		"global records":   {edit(func(b []byte) { fieldType.of(b)[0] = 'g' }), "unknown type"},
		"no number":        {edit(func(b []byte) { copy(fieldUID.of(b), "99") }), "no octal number"},
		"base 256":         {edit(func(b []byte) { fieldSize.of(b)[0] = 0x80 }), "no octal number"},
		"folder with data": {edit(func(b []byte) { fieldType.of(b)[0] = '5' }), "a folder with data"},
		"one zero block":   {append(slices.Clone(plain[:1024]), append(make([]byte, 512), plain...)...), "a zero block alone"},
		"huge records":     {edit(func(b []byte) { fieldType.of(b)[0] = 'x'; copy(fieldSize.of(b), "77777777777") }), "bytes of them"},
		"sparse":           {pax(t, record("GNU.sparse.realsize", "9999999")), `"GNU.sparse.realsize": unknown`},
		"no record":        {pax(t, "nonsense"), "begins no record"},
		"long record":      {pax(t, "99 path=x\n"), "begins no record"},
		"short record":     {pax(t, "3 path=x\n"), "begins no record"},
		"negative size":    {pax(t, "11 size=-1\n"), "not a number"},
		"zero in a path":   {pax(t, "12 path=a\x00b\n"), "malformed name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Extract(t.Context(), bytes.NewReader(framed(c.plain)), t.TempDir(), ExtractOptions{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// pax is a tar of one file with such records.
func pax(t testing.TB, records string) []byte {
	h := headers{}
	h.block(member{Entry: Entry{Kind: paxType, Size: int64(len(records))}}, paxName, "")
	out := append(h.out, records...)
	out = append(out, make([]byte, padding(int64(len(records))))...)
	return append(out, tarOf(t, file("a", "1"))...)
}

func record(key, value string) string {
	var h headers
	h.record(key, value)
	return string(h.records)
}

func TestAFullDiskNamesTheFile(t *testing.T) {
	testenv.Root(t)
	dir, src := t.TempDir(), t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		testenv.Missing(t, "leave to mount", err.Error())
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, 0)) })
	write(t, src, map[string]string{"a": "1", "large": strings.Repeat("x", 3<<20)})
	data, _ := archived(t, src, Options{Level: Fastest})
	_, err := Extract(t.Context(), bytes.NewReader(data), dir, ExtractOptions{})
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), `"large"`) {
		t.Errorf("got %v", err)
	}
}

func TestManyThingsSkippedAreCountedAndTheFirstListed(t *testing.T) {
	var all []tar.Header
	for range 1500 {
		all = append(all, link(tar.TypeLink, "h", "nothing"))
	}
	rep, err := Extract(t.Context(), bytes.NewReader(framed(tarOf(t, all...))), t.TempDir(), ExtractOptions{})
	must(t, err)
	if len(rep.Skipped) != 1000 || rep.SkippedTotal != 1500 || rep.Entries != 0 {
		t.Errorf("%d listed of %d, %d entries", len(rep.Skipped), rep.SkippedTotal, rep.Entries)
	}
}

func FuzzExtract(f *testing.F) {
	f.Add(tarOf(f, folder("d"), file("d/f", "data"), link(tar.TypeSymlink, "l", ".."), link(tar.TypeLink, "h", "d/f")))
	f.Add(tarOf(f, link(tar.TypeSymlink, "l", "../canary"), file("l", "x"), folder("l"), file("l/x", "y")))
	f.Add(pax(f, record("mtime", "1700000000.123456789")))
	f.Add(pax(f, record("SCHILY.xattr.user.a%3Db", "value")))
	f.Fuzz(func(t *testing.T, plain []byte) {
		work := t.TempDir()
		dir := filepath.Join(work, "dir")
		write(t, work, map[string]string{"canary": "sings", "dir/inside": "x"})
		outside := describe(t, work)
		_, _ = Extract(t.Context(), bytes.NewReader(framed(plain)), dir, ExtractOptions{}) // an error is as good as none
		// What is restored may be closed to others than root.
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, _ error) error {
			if d != nil && d.IsDir() {
				return os.Chmod(path, 0o700)
			}
			return nil
		})
		left := describe(t, work)
		inside := func(path, _ string) bool { return path == "dir" || strings.HasPrefix(path, "dir/") }
		maps.DeleteFunc(outside, inside)
		maps.DeleteFunc(left, inside)
		if diff := cmp.Diff(outside, left); diff != "" {
			t.Error("outside (-before +after)\n", diff)
		}
	})
}

func FuzzRead(f *testing.F) {
	src := f.TempDir()
	write(f, src, map[string]string{"a": "data", "b/c": strings.Repeat("x", 5000)})
	var out bytes.Buffer
	if _, err := Create(f.Context(), src, &out, Options{Level: Fastest}); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Add(framed(make([]byte, 2*tarBlock)))
	f.Fuzz(func(t *testing.T, stored []byte) {
		_ = List(t.Context(), bytes.NewReader(stored), nil, func(e Entry) error {
			if filepath.IsAbs(e.Path) || !filepath.IsLocal(e.Path) || e.Size < 0 {
				t.Errorf("entry %+v", e)
			}
			return nil
		})
	})
}
