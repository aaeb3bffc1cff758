// Package seal encrypts archives to the public keys of whoever may read them, and opens them with one of the private keys, at any point. It
// is age (https://age-encryption.org/v1) and nothing of its own: "age -d" opens what it writes.
//
// It knows no archives, only bytes. Where they come from and go to is its callers' affair. No error of it repeats a private key, or what may
// be one by mistake.
package seal

import (
	"errors"
	"fmt"
)

// ErrLocked marks what cannot be opened for want of a key. It says nothing of what is in it, which may be sound.
var ErrLocked = errors.New("it is encrypted")

// ErrDamaged marks what is not as it was written: it does not decrypt with the right key, or not all of it is there.
var ErrDamaged = errors.New("what is encrypted is damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}

// Setting is the variable that names the file with private keys, for errors.
const Setting = "BACKUPD_AGE_IDENTITY"
