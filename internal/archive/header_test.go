package archive

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// randomMember is of any kind, with all that may be awkward in it.
func randomMember(t *rapid.T) member {
	part := rapid.SampledFrom([]string{"a", "ä", "\xff", "new\nline", "=", strings.Repeat("n", 99), strings.Repeat("x", 255)})
	path := strings.Join(rapid.SliceOfN(part, 1, 6).Draw(t, "path"), "/")
	m := member{Entry: Entry{
		Path:    path,
		Kind:    rapid.SampledFrom([]Kind{File, Hardlink, Symlink, CharDevice, BlockDevice, Folder, Fifo}).Draw(t, "kind"),
		Mode:    rapid.Uint32Range(0, 0o7777).Draw(t, "mode"),
		UID:     rapid.Uint32().Draw(t, "uid"),
		GID:     rapid.Uint32().Draw(t, "gid"),
		ModTime: time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")),
	}}
	switch m.Kind {
	case File:
		m.Size = rapid.Int64Range(0, maxSize).Draw(t, "size")
		m.stored = m.Size
		if m.sparse = rapid.Bool().Draw(t, "sparse"); m.sparse {
			m.stored = rapid.Int64Range(0, maxSize).Draw(t, "stored")
		}
	case Hardlink:
		m.Linkname = strings.Join(rapid.SliceOfN(part, 1, 3).Draw(t, "link"), "/")
	case Symlink:
		m.Linkname = rapid.SampledFrom([]string{"/", "..", "x", strings.Repeat("\xfe/", 60)}).Draw(t, "link")
	case CharDevice, BlockDevice:
		m.major, m.minor = rapid.Uint32Range(0, 1<<12-1).Draw(t, "major"), rapid.Uint32Range(0, 1<<20-1).Draw(t, "minor")
	}
	for _, name := range []string{"security.capability", "trusted.x", "user.%41=\n"} {
		if rapid.Bool().Draw(t, name) {
			m.xattrs = append(m.xattrs, xattr{name, rapid.String().Draw(t, "value") + "\x00\n"})
		}
	}
	return m
}

func TestHeadersReadBack(t *testing.T) {
	compare := cmp.AllowUnexported(member{}, xattr{}, seen{}, stamp{}, device{})
	rapid.Check(t, func(t *rapid.T) {
		want := randomMember(t)
		var h headers
		blocks, err := h.of(&want)
		if err != nil {
			t.Fatal(err)
		}
		if len(blocks)%tarBlock != 0 {
			t.Fatalf("%d bytes", len(blocks))
		}
		got, err := firstMember(blocks)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, *got, compare); diff != "" {
			t.Error("read back (-want +got)\n", diff)
		}

		if want.sparse {
			return // archive/tar would read on to the map
		}
		other, err := tar.NewReader(bytes.NewReader(blocks)).Next()
		if err != nil {
			t.Fatal("archive/tar: ", err)
		}
		if other.Name != tarName(&want) || int64(other.Uid) != int64(want.UID) || int64(other.Gid) != int64(want.GID) ||
			other.Mode != int64(want.Mode) || other.Size != want.Size || !other.ModTime.Equal(want.ModTime) || Kind(other.Typeflag) != want.Kind {
			t.Errorf("archive/tar reads %+v of %+v", other, want)
		}
		for _, x := range want.xattrs {
			if other.PAXRecords[xattrRecord+escapeXattr(x.name)] != x.value {
				t.Errorf("archive/tar reads attributes %q", other.PAXRecords)
			}
		}
	})
}

// firstMember reads the first member of a plain stream.
func firstMember(plain []byte) (*member, error) {
	l := newLine(1)
	l.put(&block{plain: plain, done: make(chan struct{}, 1)})
	l.close()
	l.work(func(*block) {})
	r := tarReader{plain: plainReader{line: l}}
	return r.next()
}

func TestTooMuchOfAHeaderIsAnError(t *testing.T) {
	var h headers
	m := member{Entry: Entry{Path: "f", Kind: File}, xattrs: []xattr{{"user.x", strings.Repeat("x", maxRecords)}}}
	if _, err := h.of(&m); err == nil {
		t.Error("records that no reader takes are written")
	}
	m.xattrs = []xattr{{"system.posix_acl_access", "no ACL"}}
	if _, err := h.of(&m); err == nil || !strings.Contains(err.Error(), "system.posix_acl_access") {
		t.Errorf("got %v", err)
	}
}

func TestTimesBefore1970(t *testing.T) {
	for text, want := range map[string]time.Time{
		"0": time.Unix(0, 0), "-1": time.Unix(-1, 0), "-1.5": time.Unix(-2, 5e8), "-0.25": time.Unix(-1, 75e7),
		"1.000000001": time.Unix(1, 1), "1.5": time.Unix(1, 5e8), "-0.000000001": time.Unix(-1, 999_999_999),
	} {
		if got := string(appendTime(nil, want.Unix(), want.Nanosecond())); got != text {
			t.Errorf("%v is written %q, want %q", want, got, text)
		}
		if s, ns, err := parseTime(text); err != nil || !time.Unix(s, ns).Equal(want) {
			t.Errorf("%q is read as %d, %d, %v", text, s, ns, err)
		}
	}
	for _, text := range []string{"", ".", "1.x", "x", "1.5.5", "-", "1e9", "-9223372036854775808", "99999999999999999999"} {
		if _, _, err := parseTime(text); err == nil {
			t.Errorf("%q is a time", text)
		}
	}
	if s, ns, err := parseTime("1.12345678987"); err != nil || s != 1 || ns != 123456789 {
		t.Errorf("a finer fraction is read as %d, %d, %v", s, ns, err)
	}
}
