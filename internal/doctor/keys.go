package doctor

import (
	"context"
	"errors"
	"time"

	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/seal"
)

// Keys looks whether what is encrypted can ever be opened again. Opened remembers that it can.
func Keys(to seal.Recipients, with *seal.Keys, known ledger.Keys, opened func() error) Check {
	return Check{Name: "encryption", Look: func(_ context.Context, r *Report) {
		switch {
		case to.None() && with == nil:
			r.OK("archives are not encrypted")
			return
		case to.None():
			r.Note("archives are not encrypted (BACKUPD_AGE_RECIPIENTS is not set); an identity for older ones is there")
			return
		case with == nil:
			unproven(r, to, known)
			return
		}
		switch err := to.Opens(with); {
		case errors.Is(err, seal.ErrLocked):
			r.Fail("set "+seal.Setting+" to the private key of one of BACKUPD_AGE_RECIPIENTS, or leave it out here: what is being written now could not be opened with it",
				"the identity here does not open what is encrypted to the recipients: %v", err)
		case err != nil:
			r.Fail("", "what is encrypted to the recipients does not come back: %v", err)
		default:
			if err := opened(); err != nil {
				r.Warn(mend(err), "that the identity opens it cannot be remembered: %v", err)
			}
			r.OK("the identity here opens what is encrypted to the recipients")
		}
	}}
}

// unproven is for a host that can write and not read.
func unproven(r *Report, to seal.Recipients, known ledger.Keys) {
	if known.Recipients == to.Fingerprint() && !known.Opened.IsZero() {
		r.OK("an identity has opened what is encrypted to these recipients, last proven %s", known.Opened.Local().Format(time.DateOnly))
		return
	}
	r.Warn("try it once, with the copy of the private key that is meant for an emergency: \"backupd doctor\" here with "+seal.Setting+
		" set to its file, which is only read; or, where it must not come here, \"backupd verify\" on a machine that has it, of which this one "+
		"cannot know. Who loses all private keys loses all backups",
		"no identity has ever proven here that it opens what is being written")
}
