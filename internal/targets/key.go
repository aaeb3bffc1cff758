package targets

import (
	"fmt"
	"io/fs"
	"strings"
	"unicode"
)

// CheckKey says what is wrong with a key that is none; errors.Is(err, fs.ErrInvalid) holds for it. Keys are UTF-8 without control
// characters, as an S3 listing, which is XML, could not carry those.
func CheckKey(key string) error {
	if key == "." || !fs.ValidPath(key) || strings.ContainsFunc(key, unicode.IsControl) {
		return fmt.Errorf("%q as a key: %w", key, fs.ErrInvalid)
	}
	return nil
}

// CheckPrefix is CheckKey for what List takes: nothing, or a key with "/" after it.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	folder, ok := strings.CutSuffix(prefix, "/")
	if !ok {
		return fmt.Errorf("%q as a prefix, without a final slash: %w", prefix, fs.ErrInvalid)
	}
	return CheckKey(folder)
}
