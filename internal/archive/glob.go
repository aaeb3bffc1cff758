package archive

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// ValidateGlob says what is wrong with a pattern for paths within an archive. Patterns are doublestar's ("**" is any number of
// folders), on slash-separated paths relative to the root.
func ValidateGlob(pattern string) error {
	switch {
	case pattern == "":
		return errors.New("empty pattern")
	case strings.HasPrefix(pattern, "/"):
		return fmt.Errorf("pattern %q: must be relative to the root of the volume, without a slash at the beginning", pattern)
	case !doublestar.ValidatePattern(pattern):
		return fmt.Errorf("pattern %q: %w", pattern, doublestar.ErrBadPattern)
	case strings.Contains("/"+pattern+"/", "/../"):
		return fmt.Errorf("pattern %q: must not lead out of the volume", pattern)
	}
	return nil
}

// globs are patterns of which any may match.
type globs []string

func parseGlobs(patterns []string) (globs, error) {
	var g globs
	for _, p := range patterns {
		if err := ValidateGlob(p); err != nil {
			return nil, err
		}
		p = path.Clean(p) // "./cache/" would never match
		if strings.HasSuffix(p, "/**") {
			p += "/*" // the contents of a folder, not the folder: doublestar's "a/**" matches "a" too
		}
		g = append(g, p)
	}
	return g, nil
}

// match tells whether a pattern matches this very path.
func (g globs) match(name string) bool {
	for _, p := range g {
		if doublestar.MatchUnvalidated(p, name) {
			return true
		}
	}
	return false
}

// cover tells whether a pattern matches the path or a folder above it. No patterns at all cover everything.
func (g globs) cover(name string) bool {
	if len(g) == 0 {
		return true
	}
	for i := range len(name) {
		if name[i] == '/' && g.match(name[:i]) {
			return true
		}
	}
	return g.match(name) || g.match(".")
}
