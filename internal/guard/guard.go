// Package guard has containers held by a process of its own, which lets them go by itself when whoever asked for it dies, falls silent or
// takes too long.
//
// A Keeper starts one guard for each hold, asks it over its standard input for the hold, and sends it heartbeats until it has got the
// report; what the guard has to say comes over its standard output. Serve is that guard. It ends when all is let go: it is never
// needed for two holds, and nobody can hold anything through one that has let go. When the guard itself is killed, its journal tells
// the Keeper what to let go in its place.
//
// How containers are held and let go is package quiesce's to know.
package guard

import (
	"time"

	"github.com/backupd/backupd/internal/quiesce"
)

const (
	beat    = 5 * time.Second  // between two heartbeats
	first   = 10 * time.Second // until the request for the hold
	silence = 30 * time.Second // after which whoever asked for the hold is taken for dead
)

// order is what a guard is told: one JSON document each. The first has a request, each other one is a heartbeat.
type order struct {
	Hold    *quiesce.Request `json:"hold,omitempty"`
	Release bool             `json:"release,omitempty"` // all-clear: let go, also when not everything is held yet
}

// answer is what a guard says: one JSON document each.
type answer struct {
	Held     bool    `json:"held,omitempty"`
	Lost     bool    `json:"lost,omitempty"`     // the data may move
	Released *result `json:"released,omitempty"` // the last one
}

// result is how a hold ended, or why there was none.
type result struct {
	Report quiesce.Report `json:"report"`
	Error  string         `json:"error,omitempty"`
}
