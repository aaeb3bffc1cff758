package targets_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/backupd/backupd/internal/targets"
)

func TestKeys(t *testing.T) {
	for key, want := range map[string]bool{
		"host/volume/20261123T030000Z-5f0c2a9e.json": true,
		"a":         true,
		"a b+c%2F&": true,
		"…/ü":       true,
		"..a/b..":   true,
		"":          false,
		".":         false,
		"..":        false,
		"/a":        false,
		"a/":        false,
		"a//b":      false,
		"a/../b":    false,
		"./a":       false,
		"a\nb":      false,
		"a\x00":     false,
		"a\x7f":     false,
		"a\xffb":    false,
	} {
		if err := targets.CheckKey(key); (err == nil) != want || err != nil && !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("CheckKey(%q) = %v, want a key: %v", key, err, want)
		}
	}
}

func TestPrefixes(t *testing.T) {
	for prefix, want := range map[string]bool{
		"": true, "app/": true, "a/b/": true,
		"app": false, "/": false, "a//": false, "../": false, "./": false,
	} {
		if err := targets.CheckPrefix(prefix); (err == nil) != want || err != nil && !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("CheckPrefix(%q) = %v, want a prefix: %v", prefix, err, want)
		}
	}
}
