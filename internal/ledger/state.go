package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/snapshot"
)

const (
	version  = 1
	maxSize  = 64 << 20 // bytes of the file
	maxError = 4 << 10  // bytes of an error's text
)

var errDamaged = errors.New("no ledger that can be read")

// State is what is remembered.
type State struct {
	Volumes map[string]Volume // by name
	Verify  Round
	ByHand  time.Time // when the newest snapshots of all volumes were last read back because somebody asked for it
	Keys    Keys
}

// Keys is what is remembered of what archives are encrypted to.
type Keys struct {
	Recipients string    `json:"recipients,omitempty"` // a digest of the public keys
	Since      time.Time `json:"since,omitzero"`       // they are these
	Opened     time.Time `json:"opened,omitzero"`      // when a private key was last seen to open what is encrypted to them
}

// EncryptsTo remembers what archives are encrypted to from now on.
func (s *State) EncryptsTo(recipients string, now time.Time) {
	if s.Keys.Recipients != recipients {
		s.Keys = Keys{Recipients: recipients, Since: now.UTC()}
	}
}

// Opens remembers that a private key has opened what was encrypted at a moment, if that was to the recipients of now.
func (s *State) Opens(encrypted, now time.Time) {
	if s.Keys.Recipients != "" && !encrypted.Before(s.Keys.Since.Truncate(time.Second)) {
		s.Keys.Opened = now.UTC()
	}
}

// Round is what is remembered of reading back what is stored.
type Round struct {
	Since time.Time `json:"since,omitzero"` // it was first due to be done by itself
	Began time.Time `json:"began,omitzero"` // the last round
	Ended time.Time `json:"ended,omitzero"` // a round, and when it has come to its end the last one
	Last  time.Time `json:"last,omitzero"`  // when the last go at a round ended or was begun
	Goes  int       `json:"goes,omitempty"` // at the last round, since it got on
}

// Volume is what is remembered of one volume.
type Volume struct {
	Labels      map[string]map[string]string `json:"labels,omitempty"`      // that containers gave, by their names
	FirstSeen   time.Time                    `json:"first_seen,omitzero"`   // as an enrolled volume
	LastRun     time.Time                    `json:"last_run,omitzero"`     // when it began
	LastEnd     time.Time                    `json:"last_end,omitzero"`     // when the last run that came to its end did
	LastSuccess time.Time                    `json:"last_success,omitzero"` // when a good snapshot was last stored on any target
	LastError   string                       `json:"last_error,omitempty"`  // of the last run; "" when all of it went well
	Failures    int                          `json:"failures,omitempty"`    // runs in a row that stored no good snapshot
	Settled     bool                         `json:"settled,omitempty"`     // the last run failed, and to try again before the next one is due is no use

	Missed   map[string]time.Time `json:"missed,omitempty"`   // by target: when the first snapshot was taken that others have and it does not
	Fills    int                  `json:"fills,omitempty"`    // goes at filling these in a row, since the last run
	NextFill time.Time            `json:"next_fill,omitzero"` // zero for not before the next run

	Drills Drills `json:"drills,omitzero"`
}

// Drills is what is remembered of trying out a volume's snapshots by itself. What came of it is on the targets.
type Drills struct {
	Since time.Time `json:"since,omitzero"`  // it was first due to be done by itself
	Began time.Time `json:"began,omitzero"`  // the last
	Last  time.Time `json:"last,omitzero"`   // when the last one began or ended
	Goes  int       `json:"goes,omitempty"`  // in a row that came to no verdict
	Error string    `json:"error,omitempty"` // why the last one did not; "" when it did
}

// Seen remembers since when a volume is known. Only the first time counts.
func (s *State) Seen(volume string, now time.Time) {
	s.change(volume, func(v *Volume) {
		if v.FirstSeen.IsZero() {
			v.FirstSeen = now.UTC()
		}
	})
}

// Began remembers that a run begins. Until Ended says better it counts as one that failed: a crash in it is not without a trace.
func (s *State) Began(volume string, now time.Time) {
	s.change(volume, func(v *Volume) {
		v.LastRun, v.LastError = now.UTC(), "the run did not come to its end"
		if v.Settled { // the tries of this one count anew
			v.Settled, v.Failures = false, 0
		}
		v.Failures++
	})
}

// Ended remembers how the run that began last came out. One that stored a good snapshot on one target and failed on another is a
// success with an error: its volume need not be read again.
func (s *State) Ended(volume string, now time.Time, failure error, stored bool) {
	s.change(volume, func(v *Volume) {
		v.LastEnd, v.LastError = now.UTC(), ""
		if failure != nil {
			v.LastError = clip(failure.Error(), maxError)
		}
		if stored {
			v.LastSuccess, v.Failures = now.UTC(), 0
		}
	})
}

// Settles remembers that the run that ended last is not to be tried again before its time.
func (s *State) Settles(volume string) {
	s.change(volume, func(v *Volume) { v.Settled = true })
}

// Misses remembers which targets a good snapshot that was taken at this moment did not come to lie on.
func (s *State) Misses(volume string, taken time.Time, targets []string) {
	s.change(volume, func(v *Volume) {
		v.Missed = maps.Clone(v.Missed)
		for _, target := range targets {
			if _, longer := v.Missed[target]; longer {
				continue
			}
			if v.Missed == nil {
				v.Missed = map[string]time.Time{}
			}
			v.Missed[target] = taken.UTC()
		}
	})
}

// Fills remembers which targets still miss snapshots, how many goes at filling them there were, and when the next one is.
func (s *State) Fills(volume string, missed map[string]time.Time, goes int, next time.Time) {
	s.change(volume, func(v *Volume) {
		v.Missed, v.Fills, v.NextFill = maps.Clone(missed), goes, next.UTC()
		if len(missed) == 0 {
			v.Missed, v.Fills, v.NextFill = nil, 0, time.Time{}
		}
	})
}

// DrillsSince remembers since when a volume's snapshots are to be tried out. Only the first time counts.
func (s *State) DrillsSince(volume string, now time.Time) {
	s.change(volume, func(v *Volume) {
		if v.Drills.Since.IsZero() {
			v.Drills.Since = now.UTC()
		}
	})
}

// DrillBegan remembers that a snapshot is tried out. Until DrillEnded says better it counts as one that came to no verdict.
func (s *State) DrillBegan(volume string, now time.Time) {
	s.change(volume, func(v *Volume) {
		d := &v.Drills
		d.Began, d.Last, d.Error = now.UTC(), now.UTC(), "the drill did not come to its end"
		d.Goes++
	})
}

// DrillEnded remembers how the drill that began last came out: nil is with a verdict, whichever.
func (s *State) DrillEnded(volume string, now time.Time, unable error) {
	s.change(volume, func(v *Volume) {
		d := &v.Drills
		if d.Last, d.Error = now.UTC(), ""; unable != nil {
			d.Error = clip(unable.Error(), maxError)
			return
		}
		d.Goes = 0
	})
}

// Label remembers which labels containers give to volumes, in place of what it knew: by volume, then by container.
func (s *State) Label(labels map[string]map[string]map[string]string) {
	for volume := range s.Volumes {
		s.change(volume, func(v *Volume) { v.Labels = nil })
	}
	for volume, given := range labels {
		s.change(volume, func(v *Volume) { v.Labels = given })
	}
}

// Forget forgets the volumes that are gone, once nothing has happened to them since before: volumes without a name of their own come
// and go by the thousand, while one that is back after an hour should find its place again.
func (s *State) Forget(gone func(volume string) bool, before time.Time) {
	maps.DeleteFunc(s.Volumes, func(name string, v Volume) bool {
		return v.FirstSeen.Before(before) && v.LastRun.Before(before) && gone(name)
	})
}

func (s *State) change(volume string, change func(*Volume)) {
	if s.Volumes == nil {
		s.Volumes = make(map[string]Volume)
	}
	v := s.Volumes[volume]
	change(&v)
	s.Volumes[volume] = v
}

func clip(text string, most int) string {
	if len(text) > most {
		text = text[:most]
	}
	return strings.ToValidUTF8(text, "?")
}

func (s State) clone() State {
	c := State{Volumes: make(map[string]Volume, len(s.Volumes)), Verify: s.Verify, ByHand: s.ByHand, Keys: s.Keys}
	for name, v := range s.Volumes {
		if v.Labels != nil {
			labels := make(map[string]map[string]string, len(v.Labels))
			for container, given := range v.Labels {
				labels[container] = maps.Clone(given)
			}
			v.Labels = labels
		}
		v.Missed = maps.Clone(v.Missed)
		c.Volumes[name] = v
	}
	return c
}

// file is a State as it is stored. Names are escaped, as JSON cannot hold every name that a folder can have.
type file struct {
	Version int               `json:"version"`
	Volumes map[string]Volume `json:"volumes"`
	Verify  Round             `json:"verify,omitzero"`
	ByHand  time.Time         `json:"verified_by_hand,omitzero"`
	Keys    Keys              `json:"keys,omitzero"`
}

func (s State) encode() ([]byte, error) {
	f := file{Version: version, Volumes: make(map[string]Volume, len(s.Volumes)), Verify: s.Verify, ByHand: s.ByHand, Keys: s.Keys}
	for name, v := range s.Volumes {
		f.Volumes[snapshot.Escape(name)] = v
	}
	data, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return nil, err
	}
	if len(data) >= maxSize {
		return nil, fmt.Errorf("it would have %d bytes, and at most %d can be read again", len(data), maxSize)
	}
	return append(data, '\n'), nil
}

// decode reads what encode has written, and tells a newer version's file apart from what is damaged.
func decode(data []byte) (State, error) {
	var f file
	err := json.Unmarshal(data, &f)
	switch {
	case f.Version > version:
		return State{}, fmt.Errorf("%w: it has version %d, and this program knows %d", ErrNewer, f.Version, version)
	case err != nil:
		return State{}, fmt.Errorf("%w: %w", errDamaged, err)
	case f.Version < 1:
		return State{}, fmt.Errorf("%w: it has no version", errDamaged)
	}
	if f.Verify.Goes < 0 {
		return State{}, fmt.Errorf("%w: %d goes at a round", errDamaged, f.Verify.Goes)
	}
	s := State{Volumes: make(map[string]Volume, len(f.Volumes)), Verify: f.Verify, ByHand: f.ByHand, Keys: f.Keys}
	for escaped, v := range f.Volumes {
		name, err := snapshot.Unescape(escaped)
		if err != nil || v.Failures < 0 || v.Drills.Goes < 0 {
			return State{}, fmt.Errorf("%w: entry %q", errDamaged, escaped)
		}
		s.Volumes[name] = v
	}
	return s, nil
}
