package retention

import (
	"cmp"
	"slices"

	"github.com/backupd/backupd/internal/snapshot"
)

// Stay is an archive that stays although its own snapshot does not, or is gone already, since others are read from it.
type Stay struct {
	ID  snapshot.ID
	For []snapshot.ID // oldest first
}

// Stays gives the archives that stay for others, oldest first, once verdicts were carried out.
func Stays(verdicts []Verdict) (stays []Stay) {
	own := map[snapshot.ID]bool{}
	needed := map[snapshot.ID][]snapshot.ID{}
	for _, v := range slices.Backward(verdicts) { // which are newest first
		if !v.Keep {
			continue
		}
		own[v.ID] = true
		for _, a := range v.Archives {
			needed[a] = append(needed[a], v.ID)
		}
	}
	for archive, by := range needed {
		if !own[archive] {
			stays = append(stays, Stay{archive, by})
		}
	}
	slices.SortFunc(stays, func(a, b Stay) int { return cmp.Compare(a.ID, b.ID) })
	return stays
}
