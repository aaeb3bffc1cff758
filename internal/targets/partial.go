package targets

import (
	"crypto/rand"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// Stores where what is being put has to have a name keep it in this folder, which is none of a key and which List does not show.
const Partials = ".backupd-partial"

// Abandoned is the age from which on what is in that folder is nobody's any more: nothing is being put for longer.
const Abandoned = 48 * time.Hour

// NewPartial gives a name that nobody else uses.
func NewPartial() string { return Partials + "/" + rand.Text() }

// CheckUnreserved is CheckKey for a store with such a folder.
func CheckUnreserved(key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if folder, _, _ := strings.Cut(key, "/"); folder == Partials {
		return fmt.Errorf("%q as a key, in which %s is reserved: %w", key, Partials, fs.ErrInvalid)
	}
	return nil
}
