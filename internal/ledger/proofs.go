package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/backupd/backupd/internal/durable"
	"github.com/backupd/backupd/internal/snapshot"
)

const (
	proofsName = "proofs"
	proofPaths = 20      // of what damage hits
	maxProofs  = 8 << 20 // bytes of one file
)

// Proofs is what is remembered of a volume's snapshots: by target, and by id.
type Proofs map[string]map[snapshot.ID]snapshot.Proof

// proofsFile is Proofs as they are stored: a file for each volume, as they are many and change one at a time. Its name is a digest of whose
// they are, since names of volumes can be as long as a file's may be.
type proofsFile struct {
	Version int    `json:"version"`
	Host    string `json:"host"` // escaped, as is the volume
	Volume  string `json:"volume"`
	Proofs  Proofs `json:"proofs"`
}

// Proofs gives what was found when the snapshots of a volume were last read back. An error says that it cannot be known; Prove, with what is
// found next, mends that.
func (l *Ledger) Proofs(host, volume string) (Proofs, error) {
	f, err := readProofs(l.proofs(host, volume))
	if errors.Is(err, fs.ErrNotExist) {
		return Proofs{}, nil
	}
	if err == nil && (f.Host != snapshot.Escape(host) || f.Volume != snapshot.Escape(volume)) {
		err = fmt.Errorf("%w: it is about volume %q of %q", errDamaged, f.Volume, f.Host)
	}
	if err != nil {
		return nil, fmt.Errorf("read what is known of damage in volume %q: %w (\"backupd verify --all --volume\" finds it out anew)", volume, err)
	}
	return f.Proofs, nil
}

// Prove remembers what was found in a snapshot on a target. What was known of the volume and can no longer be read is set aside: aside says so.
func (l *Ledger) Prove(target string, ref snapshot.Ref, p snapshot.Proof) (aside, err error) {
	p.At, p.Damaged = p.At.UTC(), clip(p.Damaged, maxError)
	p.Paths = p.Paths[:min(len(p.Paths), proofPaths)]
	err = l.lockedProofs(func() error {
		known, err := l.Proofs(ref.Host, ref.Volume)
		if errors.Is(err, errDamaged) {
			aside, err = l.setAside(l.proofs(ref.Host, ref.Volume), err)
			known = Proofs{}
		}
		if err != nil {
			return err
		}
		if known[target] == nil {
			known[target] = map[snapshot.ID]snapshot.Proof{}
		}
		known[target][ref.ID] = p
		return l.writeProofs(ref.Host, ref.Volume, known)
	})
	if err != nil {
		return aside, fmt.Errorf("remember what was found in snapshot %s: %w", ref.ID, err)
	}
	return aside, nil
}

// EachProof calls do for all that is remembered, and forgets those for which it says so: of snapshots that are gone.
func (l *Ledger) EachProof(do func(target string, ref snapshot.Ref, p snapshot.Proof) (forget bool)) error {
	return l.lockedProofs(func() error {
		entries, err := os.ReadDir(filepath.Join(l.dir, proofsName))
		if err != nil {
			return err
		}
		var errs []error
		for _, e := range entries {
			errs = append(errs, l.eachOf(filepath.Join(l.dir, proofsName, e.Name()), do))
		}
		return errors.Join(errs...)
	})
}

// eachOf passes over what is no file of proofs, or cannot be read as one: who asks for that volume is told.
func (l *Ledger) eachOf(path string, do func(target string, ref snapshot.Ref, p snapshot.Proof) (forget bool)) error {
	f, err := readProofs(path)
	host, badHost := snapshot.Unescape(f.Host)
	volume, badVolume := snapshot.Unescape(f.Volume)
	if err != nil || badHost != nil || badVolume != nil || path != l.proofs(host, volume) {
		return nil
	}
	forgotten := false
	for target, all := range f.Proofs {
		maps.DeleteFunc(all, func(id snapshot.ID, p snapshot.Proof) bool {
			forget := do(target, snapshot.Ref{Host: host, Volume: volume, ID: id}, p)
			forgotten = forgotten || forget
			return forget
		})
		if len(all) == 0 {
			delete(f.Proofs, target)
		}
	}
	switch {
	case len(f.Proofs) == 0:
		return os.Remove(path)
	case forgotten:
		return l.writeProofs(host, volume, f.Proofs)
	}
	return nil
}

func (l *Ledger) lockedProofs(do func() error) error {
	return l.locked(func() error {
		if err := os.MkdirAll(filepath.Join(l.dir, proofsName), 0o700); err != nil {
			return err
		}
		return do()
	})
}

func (l *Ledger) proofs(host, volume string) string {
	return filepath.Join(l.dir, proofsName, snapshot.FileName(host, volume)+".json")
}

func (l *Ledger) writeProofs(host, volume string, p Proofs) error {
	data, err := json.MarshalIndent(proofsFile{version, snapshot.Escape(host), snapshot.Escape(volume), p}, "", "\t")
	if err != nil {
		return err
	}
	if len(data) > maxProofs {
		return fmt.Errorf("it would have %d bytes, and at most %d can be read again", len(data), maxProofs)
	}
	return durable.WriteFile(l.proofs(host, volume), append(data, '\n'), 0o600)
}

func readProofs(path string) (f proofsFile, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return f, err
	}
	data, err := readRegular(path, info, maxProofs+1)
	if err != nil {
		return f, err
	}
	err = json.Unmarshal(data, &f)
	switch {
	case f.Version > version:
		return f, fmt.Errorf("%s: %w: it has version %d, and this program knows %d", path, ErrNewer, f.Version, version)
	case err != nil:
		return f, fmt.Errorf("%s: %w: %w", path, errDamaged, err)
	case f.Version < 1 || f.Proofs == nil:
		return f, fmt.Errorf("%s: %w: it has no version, or nothing in it", path, errDamaged)
	}
	for target, all := range f.Proofs {
		for id := range all {
			if _, err := snapshot.ParseID(string(id)); err != nil {
				return f, fmt.Errorf("%s: %w: target %q: %w", path, errDamaged, target, err)
			}
		}
		if all == nil {
			delete(f.Proofs, target)
		}
	}
	return f, nil
}
