package main

import (
	"math"
	"runtime"
	"runtime/debug"
)

// boundMemory tells the garbage collector how much memory the program should do with: by itself it lets twice of what is in use lie,
// and is slow to give back what was freed. Nothing breaks beyond the limit, so that it is but a little more than what jobs need
// that run at once: a few frames of 1 MiB that are compressed, and for each target some parts of an upload.
// A limit that GOMEMLIMIT sets stays.
func boundMemory(jobs, targets int) {
	const unset, mib = math.MaxInt64, 1 << 20
	if debug.SetMemoryLimit(-1) != unset {
		return
	}
	perJob := min(8*runtime.GOMAXPROCS(0), 20) + 56*targets
	debug.SetMemoryLimit(int64(24+jobs*perJob) * mib)
}
