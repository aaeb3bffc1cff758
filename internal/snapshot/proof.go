package snapshot

import (
	"slices"
	"time"
)

// Proof is what was found when one target's copy of a snapshot was last read back. The zero Proof is of one that never was.
type Proof struct {
	At      time.Time `json:"at"`                // when it was begun, UTC
	Damaged string    `json:"damaged,omitempty"` // what is wrong with it; "" is nothing
	Hits    int64     `json:"hits,omitempty"`    // entries that have bytes in what is damaged
	Paths   []string  `json:"paths,omitempty"`   // the first of them
	In      []ID      `json:"in,omitempty"`      // archives that the damage lies in; none says nothing else than the snapshot's own
	Keyless bool      `json:"keyless,omitempty"` // encrypted, and without a key: its bytes are those that were written
}

// Spoils tells whether it speaks of damage in the archive of the snapshot that it is of.
func (p Proof) Spoils(own ID) bool {
	return p.Damaged != "" && (len(p.In) == 0 || slices.Contains(p.In, own))
}
