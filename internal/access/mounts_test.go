package access

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// escape does what the kernel does to names in its tables of mounts (mangle_path, with " \t\n\\#").
func escape(s string) string {
	return strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`, "#", `\043`).Replace(s)
}

func TestUnescapeUndoesTheKernel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOf(rapid.SampledFrom([]rune("/a0\\ \t\n#17é"))).Draw(t, "name")
		if got := unescape(escape(name)); got != name {
			t.Errorf("%q comes back as %q", name, got)
		}
	})
}

func TestUnescapeLeavesWhatIsNoEscape(t *testing.T) {
	for _, s := range []string{``, `\`, `\0`, `\04`, `\08 `, `\400`, `a\9bc`} {
		if got := unescape(s); got != s {
			t.Errorf("%q becomes %q", s, got)
		}
	}
}

func TestRootIsAMountPoint(t *testing.T) {
	for path, want := range map[string]bool{"/": true, "/proc": true, "/proc/self": false, "": false} {
		if got, err := isMountPoint("/proc/self/mountinfo", path); err != nil || got != want {
			t.Errorf("%q: %v, %v", path, got, err)
		}
	}
}
