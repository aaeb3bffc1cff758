package doctor_test

import (
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"

	"github.com/backupd/backupd/internal/doctor"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/seal"
)

// pair gives a new public key as recipients, and its private one.
func pair(t *testing.T) (seal.Recipients, *seal.Keys) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var r seal.Recipients
	if err := r.UnmarshalText([]byte(id.Recipient().String())); err != nil {
		t.Fatal(err)
	}
	return r, seal.KeysIn(path, nil)
}

func TestKeys(t *testing.T) {
	to, with := pair(t)
	others, stranger := pair(t)
	proven := 0
	opened := func() error { proven++; return nil }
	known := ledger.Keys{Recipients: to.Fingerprint(), Opened: now}
	none := seal.Recipients{}
	want(t, doctor.Keys(none, nil, ledger.Keys{}, opened), "ok archives are not encrypted")
	want(t, doctor.Keys(none, with, ledger.Keys{}, opened), "note archives are not encrypted")
	want(t, doctor.Keys(to, nil, ledger.Keys{}, opened), "warn no identity has ever proven here ... backupd doctor ... BACKUPD_AGE_IDENTITY")
	want(t, doctor.Keys(to, nil, ledger.Keys{Recipients: to.Fingerprint()}, opened), "warn no identity has ever proven")
	want(t, doctor.Keys(to, nil, known, opened), "ok an identity has opened ... 2026-11-20")
	want(t, doctor.Keys(others, nil, known, opened), "warn no identity has ever proven") // the recipients were changed since
	want(t, doctor.Keys(to, stranger, known, opened), "fail the identity here does not open")
	if proven > 0 {
		t.Errorf("%d proofs without one", proven)
	}
	want(t, doctor.Keys(to, with, ledger.Keys{}, opened), "ok the identity here opens")
	if proven != 1 {
		t.Errorf("%d proofs", proven)
	}
	want(t, doctor.Keys(to, with, ledger.Keys{}, func() error { return errBroken }), "warn that the identity opens it cannot be remembered", "ok")
}
