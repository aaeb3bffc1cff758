package quiesce

import "fmt"

// Mode is how containers are to be made to hold still, as somebody asks for it.
type Mode string

// How is what is done to one container, or to a swarm service.
type How string

// The modes, of which Pause and Stop are also what is done; therefore they have no type. Pause freezes all processes at one instant; Stop
// ends them and starts them again; None leaves them alone.
const (
	Pause = "pause"
	Stop  = "stop"
	None  = "none"
)

// Scale is how a swarm service is stopped: it is told to have no tasks, and gets its count back.
const Scale How = "scale"

func (h How) String() string { return string(h) }

func (m Mode) String() string { return string(m) }

// MarshalText gives the mode as it is written in settings and labels.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m), m.check() }

// UnmarshalText reads a mode as it is written in settings and labels.
func (m *Mode) UnmarshalText(text []byte) error {
	read := Mode(text)
	if err := read.check(); err != nil {
		return err
	}
	*m = read
	return nil
}

func (m Mode) check() error {
	switch m {
	case Pause, Stop, None:
		return nil
	}
	return fmt.Errorf("%q is no way to quiesce containers: choose pause, stop or none", string(m))
}
