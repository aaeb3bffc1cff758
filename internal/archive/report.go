package archive

import (
	"fmt"
	"slices"
	"sync"
)

// Report is what came out of an archive.
type Report struct {
	Entries int64 // that were restored
	Bytes   int64 // of file data, without holes

	// Skipped are the first 1000 things that could not be restored, for want of privilege or because the file system
	// does not have the like, sorted by path; SkippedTotal is how many there were.
	Skipped      []Skipped
	SkippedTotal int64

	// Damaged are the first 1000 entries that damage to the archive has hit, when that was to be passed over; DamagedTotal
	// is how many they are. Where not even the index can tell what was there, a path is empty.
	Damaged      []Skipped
	DamagedTotal int64
}

// mostReported is how many of a kind are listed.
const mostReported = 1000

// Skipped is something that could not be restored, or not as it was.
type Skipped struct {
	Path string
	What string // and why
}

// reporter is a Report that several goroutines write.
type reporter struct {
	mu sync.Mutex
	Report
}

func (r *reporter) skip(path, what string, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.SkippedTotal++; len(r.Skipped) < mostReported {
		r.Skipped = append(r.Skipped, Skipped{path, fmt.Sprintf("%s: %v", what, why)})
	}
}

func (r *reporter) damaged(path, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.DamagedTotal++; len(r.Damaged) < mostReported {
		r.Damaged = append(r.Damaged, Skipped{path, what})
	}
}

// report is what was reported when nobody reports any more.
func (r *reporter) report() Report {
	slices.SortStableFunc(r.Skipped, func(a, b Skipped) int { return ComparePaths(a.Path, b.Path) })
	return r.Report
}
