package suspicion

import (
	"slices"

	"github.com/backupd/backupd/internal/snapshot"
)

// usual is what a measure of a volume has come to, robustly: a single snapshot that is far off moves neither median nor spread.
type usual struct {
	median float64
	spread float64 // what the measure goes up and down by, as a factor: 1 for a volume that does not change
	least  int64
	most   int64
	floor  float64 // what does not matter
}

// Measures below these, and losses of less, are no sign of anything. One of them sees what the other does not: a thousand files that are
// gone, or a large one.
const (
	floorBytes   = 1 << 20
	floorEntries = 32
)

func measures(history []snapshot.Manifest) (bytes, entries usual) {
	var b, e []int64
	for _, m := range history {
		b, e = append(b, m.Contents.Bytes), append(e, m.Contents.Entries)
	}
	return newUsual(b, floorBytes), newUsual(e, floorEntries)
}

// newUsual takes the median m of the measures, and as their spread the median of the factors max(x/m, m/x) by which they are off. In a
// volume that grows evenly that is a factor too, where a difference would swallow the volume. What is below the floor is taken for the floor.
func newUsual(measured []int64, floor float64) usual {
	const few, unknown = 3, 5.0
	values := make([]float64, len(measured))
	for i, n := range measured {
		values[i] = max(float64(n), floor)
	}
	u := usual{median: median(values), least: slices.Min(measured), most: slices.Max(measured), floor: floor}
	for i, v := range values {
		values[i] = max(v/u.median, u.median/v)
	}
	k := median(values)
	u.spread = k * k * k
	if len(measured) < few { // which tell nothing of how much is usual
		u.spread = max(u.spread, unknown)
	}
	return u
}

// shrunk tells whether a measure is suspiciously small: less than half of the median, divided by the cube of the spread (three times the
// spread, in logarithms); less than in any of the snapshots; and what is missing is more than the floor. So of a volume that is always about
// as large, half has to be gone, of one that goes up and down by a fifth, two thirds (1/2 / 1.2³ = 0.29), and with a history of fewer than
// three, nine tenths.
func (u usual) shrunk(now int64) bool {
	return float64(now) < u.median/2/u.spread && now < u.least && u.median-float64(now) >= u.floor
}

// grown tells whether a measure is strangely large: ten times the median, and as much more as the spread, of a volume that is worth
// speaking of.
func (u usual) grown(now int64) bool {
	return float64(now) > 10*u.spread*max(u.median, 10*u.floor) && now > u.most
}

// median sorts the values. There is at least one.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
