package snapshot

import "time"

// Proof is what was found when one target's copy of a snapshot was last read back. The zero Proof is of one that never was.
type Proof struct {
	At      time.Time `json:"at"`                // when it was begun, UTC
	Damaged string    `json:"damaged,omitempty"` // what is wrong with it; "" is nothing
	Hits    int64     `json:"hits,omitempty"`    // entries that have bytes in what is damaged
	Paths   []string  `json:"paths,omitempty"`   // the first of them
	Keyless bool      `json:"keyless,omitempty"` // encrypted, and without a key: its bytes are those that were written
}
