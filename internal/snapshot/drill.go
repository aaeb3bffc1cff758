package snapshot

import "time"

// DrillFormat is the version of the objects of drills that this program writes. It reads no newer one.
const DrillFormat = 1

// Drill is what came of trying a snapshot out: it was restored to a volume of its own, and what uses such a volume was started on it and
// asked. It is an object beside the manifest, never changed, and holds no secret.
type Drill struct {
	Format  int       `json:"format"`
	Host    string    `json:"host"`
	Volume  string    `json:"volume"`
	ID      ID        `json:"snapshot"`
	At      time.Time `json:"at"` // when it was begun, UTC
	Program string    `json:"program"`

	// Failed says why the snapshot is not proven to be restorable; "" is that it is.
	Failed string `json:"failed,omitempty"`

	Bytes     int64    `json:"bytes"`      // of files that were restored
	RestoreMS int64    `json:"restore_ms"` // until all data was there
	ReadyMS   int64    `json:"ready_ms"`   // from then on until what was started on it was well
	TookMS    int64    `json:"took_ms"`    // in all, checks and cleaning up too
	Started   []string `json:"started"`    // names of the recorded containers that were started on it
	Checks    []Check  `json:"checks"`     // in the order in which they were made
}

// Check is one question that was asked of restored data.
type Check struct {
	Of     string `json:"of"`               // what it was recognised as, such as "postgresql", or "command" for one that the user gave
	Asked  string `json:"asked"`            // in words or as a command
	Answer string `json:"answer,omitempty"` // the last of what came back
	Failed string `json:"failed,omitempty"` // why that is not well; "" is that it is
	TookMS int64  `json:"took_ms"`
}

// Proven tells whether the snapshot was found to be restorable.
func (d Drill) Proven() bool { return d.Failed == "" }
