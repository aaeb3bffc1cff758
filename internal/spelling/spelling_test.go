package spelling

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNearest(t *testing.T) {
	known := []string{"BACKUPD_HOST", "BACKUPD_TARGETS", "BACKUPD_SCHEDULE", "BACKUPD_SOURCE"}
	tests := map[string]struct{ word, want string }{
		"a letter is missing":       {"BACKUPD_TARGET", "BACKUPD_TARGETS"},
		"two letters are swapped":   {"BACKUPD_SHCEDULE", "BACKUPD_SCHEDULE"},
		"the word itself":           {"BACKUPD_HOST", "BACKUPD_HOST"},
		"the first of several":      {"BACKUPD_", "BACKUPD_HOST"},
		"nothing is like it":        {"PATH", ""},
		"nothing at all is written": {"", ""},
		"hostile length":            {strings.Repeat("BACKUPD_HOST", 1000), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Nearest(tt.word, known); got != tt.want {
				t.Errorf("Nearest(%q) = %q, want %q", tt.word, got, tt.want)
			}
		})
	}
}

func TestEditsIsADistance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.StringMatching(`[abc]{0,6}`).Draw(t, "a"), rapid.StringMatching(`[abc]{0,6}`).Draw(t, "b")
		d := edits(a, b)
		if (d == 0) != (a == b) || d != edits(b, a) || d > max(len(a), len(b)) || d < max(len(a)-len(b), len(b)-len(a)) {
			t.Errorf("edits(%q, %q) = %d, and %d the other way round", a, b, d, edits(b, a))
		}
	})
}
