package targets

import "math"

// End is where a Get of n bytes from the offset off ends in an object of that size: n and off are as they are given to Get, of which off is not
// negative, and the end is never before off. Of an object whose size is not known yet, size is Unknown.
func End(size, off, n int64) int64 {
	if n >= 0 && off <= size-n {
		return off + n
	}
	return max(size, off)
}

// Unknown is a size that is beyond all sizes.
const Unknown = math.MaxInt64
