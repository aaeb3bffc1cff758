package archive

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// Level says how hard to compress.
type Level int

// From the least work to the most. Default and Better cost about 1.5 and 6 times as much as Fastest, for a few percent.
const (
	None Level = iota // frames that stock tools read all the same
	Fastest
	Default
	Better
)

// levels is what each Level is called and means; the encoder's own level says nothing for None.
func levels() [4]struct {
	name    string
	encoder zstd.EncoderLevel
} {
	return [...]struct {
		name    string
		encoder zstd.EncoderLevel
	}{
		None:    {"none", zstd.SpeedFastest},
		Fastest: {"fastest", zstd.SpeedFastest},
		Default: {"default", zstd.SpeedDefault},
		Better:  {"better", zstd.SpeedBetterCompression},
	}
}

func (l Level) valid() bool { return l >= None && l <= Better }

func (l Level) String() string {
	if !l.valid() {
		return fmt.Sprintf("Level(%d)", int(l))
	}
	return levels()[l].name
}

// MarshalText gives the level's name.
func (l Level) MarshalText() ([]byte, error) {
	if !l.valid() {
		return nil, fmt.Errorf("%v is no compression level", l)
	}
	return []byte(l.String()), nil
}

// UnmarshalText takes one of none, fastest, default and better.
func (l *Level) UnmarshalText(text []byte) error {
	for i, level := range levels() {
		if level.name == string(text) {
			*l = Level(i)
			return nil
		}
	}
	return fmt.Errorf("compression %q: want none, fastest, default or better", text)
}
