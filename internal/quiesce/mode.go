package quiesce

import "fmt"

// Mode is how containers are made to hold still.
type Mode string

// The modes. Pause freezes all processes at one instant; Stop ends them and starts them again; None leaves them alone.
const (
	Pause Mode = "pause"
	Stop  Mode = "stop"
	None  Mode = "none"
)

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
