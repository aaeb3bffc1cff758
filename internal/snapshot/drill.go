package snapshot

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// DrillFormat is the version of the objects of drills that this program writes. It reads no newer one.
const DrillFormat = 1

// Drill is what came of trying a snapshot out: it was restored to a volume of its own, and what uses such a volume was started on it and
// asked. It is an object beside the manifest, never changed, and holds no secret. There is one only where there is a verdict: what kept a
// snapshot from being tried out says nothing about it.
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

	// Sealed is Words, encrypted like the snapshot that they are about, as what was asked and came back may hold names of files; then there
	// is nothing of them elsewhere.
	Sealed []byte `json:"sealed,omitempty"`
}

// Words is what a drill tells beyond its verdict and how long it took.
type Words struct {
	Failed  string   `json:"failed,omitempty"`
	Started []string `json:"started"`
	Checks  []Check  `json:"checks"`
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

// Words gives what would be sealed.
func (d Drill) Words() Words { return Words{Failed: d.Failed, Started: d.Started, Checks: d.Checks} }

// WithWords gives the same drill with other words. Its verdict stays what it was.
func (d Drill) WithWords(w Words) Drill {
	if !d.Proven() {
		d.Failed = cmp.Or(w.Failed, "it is not said why")
	}
	d.Started, d.Checks = w.Started, w.Checks
	return d
}

// OfCopy tells whether what failed is the copy on the target that it was restored from, and not the data: it did not get as far as that.
func (d Drill) OfCopy() bool { return !d.Proven() && len(d.Started) == 0 && len(d.Checks) == 0 }

// Ref says which snapshot was tried out.
func (d Drill) Ref() Ref { return Ref{Host: d.Host, Volume: d.Volume, ID: d.ID} }

// Trial gives what the key of the drill's object tells.
func (d Drill) Trial() Trial {
	t := Trial{At: d.At.UTC().Truncate(time.Second), Proven: d.Proven()}
	if t.Proven {
		t.Recovery = time.Duration(d.RestoreMS+d.ReadyMS) * time.Millisecond
	}
	return t
}

// Trial is what a listing tells of a drill, without reading its object.
type Trial struct {
	At       time.Time     // when it was begun, to the second, UTC
	Proven   bool          // else it failed
	Recovery time.Duration // of a proof: from an empty volume until what was started on it was well; whole milliseconds
}

var drillPattern = regexp.MustCompile(`^\.drill-([0-9]{8}T[0-9]{6}Z)-(failed|proven-(0|[1-9][0-9]{0,11})ms)$`)

// Kind is what the object of the drill lies on a target as: ".drill-20261201T040000Z-proven-84213ms". Those of a snapshot sort by time.
func (t Trial) Kind() Kind {
	verdict := "failed"
	if t.Proven {
		verdict = fmt.Sprintf("proven-%dms", t.Recovery.Milliseconds())
	}
	return Kind(".drill-" + t.At.UTC().Format(stamp) + "-" + verdict)
}

// Trial is the inverse of Trial.Kind; ok says that the kind is of a drill.
func (k Kind) Trial() (t Trial, ok bool) {
	m := drillPattern.FindStringSubmatch(string(k))
	if m == nil {
		return Trial{}, false
	}
	at, err := time.Parse(stamp, m[1])
	if err != nil {
		return Trial{}, false
	}
	t = Trial{At: at, Proven: m[3] != ""}
	if t.Proven {
		ms, err := strconv.ParseInt(m[3], 10, 64)
		if err != nil {
			return Trial{}, false
		}
		t.Recovery = time.Duration(ms) * time.Millisecond
	}
	return t, true
}

// mostMS is the most that a name of a drill's object can hold, by half.
const mostMS = 1e12/2 - 1

// MaxDrill is the most bytes that the object of a drill may have.
const MaxDrill = 1 << 20

// Encode gives the drill as it is stored.
func (d Drill) Encode() ([]byte, error) {
	data, err := json.MarshalIndent(d, "", "  ")
	if err == nil && len(data) >= MaxDrill {
		err = fmt.Errorf("it would have %d bytes, and at most %d are read again", len(data), MaxDrill)
	}
	if err != nil {
		return nil, fmt.Errorf("encode the drill of snapshot %s: %w", d.ID, err)
	}
	return append(data, '\n'), nil
}

// DecodeDrill reads the drill that should lie at ref and t, and trusts nothing in it: what is outside the format, of a newer one, or
// speaks of another snapshot or says something else than its key is an error.
func DecodeDrill(data []byte, ref Ref, t Trial) (Drill, error) {
	var d Drill
	err := json.Unmarshal(data, &d)
	if d.Host == text(ref.Host) && d.Volume == text(ref.Volume) { // as with manifests
		d.Host, d.Volume = ref.Host, ref.Volume
	}
	if err == nil {
		err = d.check(ref, t)
	}
	if err != nil {
		return Drill{}, fmt.Errorf("read the drill of snapshot %s of %s: %w", ref.ID, t.At.Format(time.RFC3339), err)
	}
	return d, nil
}

func (d Drill) check(ref Ref, t Trial) error {
	switch {
	case d.Format > DrillFormat:
		return fmt.Errorf("it has format %d and this program reads up to %d: use a newer backupd", d.Format, DrillFormat)
	case d.Format < 1:
		return fmt.Errorf("it has no format version")
	case d.Ref() != ref:
		return fmt.Errorf("it speaks of snapshot %s of volume %q on host %q, and lies beside %s of %q on %q",
			d.ID, d.Volume, d.Host, ref.ID, ref.Volume, ref.Host)
	case min(d.Bytes, d.RestoreMS, d.ReadyMS, d.TookMS) < 0:
		return fmt.Errorf("a size or time is negative")
	case max(d.RestoreMS, d.ReadyMS) > mostMS:
		return fmt.Errorf("it says that it took years")
	case d.Trial() != t:
		return fmt.Errorf("it says %q, and its name %q", d.Trial().Kind(), t.Kind())
	}
	return nil
}
