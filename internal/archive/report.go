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
}

// Skipped is something that could not be restored.
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
	const most = 1000
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.SkippedTotal++; len(r.Skipped) < most {
		r.Skipped = append(r.Skipped, Skipped{path, fmt.Sprintf("%s: %v", what, why)})
	}
}

// report is what was reported when nobody reports any more.
func (r *reporter) report() Report {
	slices.SortStableFunc(r.Skipped, func(a, b Skipped) int { return comparePaths(a.Path, b.Path) })
	return r.Report
}
