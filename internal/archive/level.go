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
	memory  int // MiB that one encoder takes
} {
	return [...]struct {
		name    string
		encoder zstd.EncoderLevel
		memory  int
	}{
		None:    {"none", zstd.SpeedFastest, 0},
		Fastest: {"fastest", zstd.SpeedFastest, 3},
		Default: {"default", zstd.SpeedDefault, 4},
		Better:  {"better", zstd.SpeedBetterCompression, 7},
	}
}

// workers is how many compress at the same time when so many were asked for. By themselves they are no more than have room in memory,
// each with its encoder and two blocks in both forms.
func (l Level) workers(asked int) int {
	const blocks, most = 4, 42 // MiB
	if asked > 0 {
		return asked
	}
	return min(workersOr(0), most/(blocks+levels()[l].memory))
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
