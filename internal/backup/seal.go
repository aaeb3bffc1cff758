package backup

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/snapshot"
)

// kind is what archives come to lie on targets as.
func (r *Runner) kind() snapshot.Kind {
	if r.Seal.None() {
		return snapshot.ArchiveKind
	}
	return snapshot.SealedKind
}

// seal gives what a volume's archive is to be written to. Encryption comes before all else: neither the spool nor any target gets to see
// what is in it, and all get the same.
func (r *Runner) seal(one *reading) (to io.Writer, err error) {
	if r.Seal.None() {
		return one.stream, nil
	}
	one.sealed, err = r.Seal.Writer(one.stream)
	return one.sealed, err
}

// sealFacts encrypts all that a restore needs to know beside the archive.
func (r *Runner) sealFacts(facts snapshot.Restore) (snapshot.Restore, error) {
	plain, err := json.Marshal(facts)
	if err == nil {
		plain, err = r.Seal.Seal(plain)
	}
	if err != nil {
		return snapshot.Restore{}, fmt.Errorf("encrypt what a restore needs: %w", err)
	}
	return snapshot.Restore{Sealed: plain}, nil
}

// archive describes what was written.
func (one *reading) archive(sum archive.Summary) snapshot.Archive {
	a := snapshot.Archive{ID: one.ref.ID, Size: sum.Stored, Plain: sum.Plain, Directory: sum.Directory}
	if one.sealed != nil {
		a.Encryption = snapshot.Age
		a.Size, a.Stored = one.sealed.Written()
	}
	return a
}
