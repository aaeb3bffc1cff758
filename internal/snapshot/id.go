package snapshot

import (
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"time"
)

// ID names one snapshot of one volume: the moment its data is of, in UTC and to the second, and 32 random bits,
// as in "20261123T030000Z-5f0c2a9e". IDs sort by time.
type ID string

const stamp = "20060102T150405Z"

var idPattern = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$`)

// NewID makes an ID for data of the moment taken.
func NewID(taken time.Time, entropy io.Reader) (ID, error) {
	var random [4]byte
	if _, err := io.ReadFull(entropy, random[:]); err != nil {
		return "", fmt.Errorf("draw random bits for a snapshot id: %w", err)
	}
	return ID(taken.UTC().Format(stamp) + "-" + hex.EncodeToString(random[:])), nil
}

// ParseID accepts exactly what NewID makes.
func ParseID(s string) (ID, error) {
	if idPattern.MatchString(s) {
		if _, err := time.Parse(stamp, s[:len(stamp)]); err == nil {
			return ID(s), nil
		}
	}
	return "", fmt.Errorf("%q is not a snapshot id (such as 20261123T030000Z-5f0c2a9e)", s)
}

// Time is the moment that the ID names, to the second. It is the zero time for what is not an ID.
func (id ID) Time() time.Time {
	if len(id) < len(stamp) {
		return time.Time{}
	}
	t, err := time.Parse(stamp, string(id[:len(stamp)]))
	if err != nil {
		return time.Time{}
	}
	return t
}
