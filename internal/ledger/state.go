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
}

// Volume is what is remembered of one volume.
type Volume struct {
	Labels      map[string]map[string]string `json:"labels,omitempty"`      // that containers gave, by their names: see plan.Remember
	FirstSeen   time.Time                    `json:"first_seen,omitzero"`   // as an enrolled volume
	LastRun     time.Time                    `json:"last_run,omitzero"`     // when it began
	LastEnd     time.Time                    `json:"last_end,omitzero"`     // when the run that began at LastRun was over
	LastSuccess time.Time                    `json:"last_success,omitzero"` // when a good snapshot was last stored on any target
	LastError   string                       `json:"last_error,omitempty"`  // of the last run; "" when all of it went well
	Failures    int                          `json:"failures,omitempty"`    // runs in a row that did not go well
}

// Ran remembers a run that is over. A run that stored a snapshot on one target and failed on another is a success and has an error.
func (s *State) Ran(volume string, began, ended time.Time, failure error, stored bool) {
	v := s.Volumes[volume]
	v.LastRun, v.LastEnd = began, ended
	v.LastError, v.Failures = "", 0
	if failure != nil {
		v.LastError = clip(failure.Error(), maxError)
		v.Failures = s.Volumes[volume].Failures + 1
	}
	if stored {
		v.LastSuccess = ended
	}
	s.Set(volume, v)
}

// Set remembers v under a volume's name.
func (s *State) Set(volume string, v Volume) {
	if s.Volumes == nil {
		s.Volumes = make(map[string]Volume)
	}
	s.Volumes[volume] = v
}

func clip(text string, most int) string {
	if len(text) > most {
		text = text[:most]
	}
	return strings.ToValidUTF8(text, "?")
}

func (s State) clone() State {
	c := State{Volumes: make(map[string]Volume, len(s.Volumes))}
	for name, v := range s.Volumes {
		if v.Labels != nil {
			labels := make(map[string]map[string]string, len(v.Labels))
			for container, given := range v.Labels {
				labels[container] = maps.Clone(given)
			}
			v.Labels = labels
		}
		c.Volumes[name] = v
	}
	return c
}

// file is a State as it is stored. Names are escaped, as JSON cannot hold every name that a folder can have.
type file struct {
	Version int               `json:"version"`
	Volumes map[string]Volume `json:"volumes"`
}

func (s State) encode() ([]byte, error) {
	f := file{Version: version, Volumes: make(map[string]Volume, len(s.Volumes))}
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
	s := State{Volumes: make(map[string]Volume, len(f.Volumes))}
	for escaped, v := range f.Volumes {
		name, err := snapshot.Unescape(escaped)
		if err != nil || v.Failures < 0 {
			return State{}, fmt.Errorf("%w: entry %q", errDamaged, escaped)
		}
		s.Volumes[name] = v
	}
	return s, nil
}
