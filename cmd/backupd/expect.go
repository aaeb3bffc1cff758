package main

import (
	"errors"
	"slices"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/snapshot"
)

// expectedHold is how many milliseconds containers are likely to be held for a volume, by its last good snapshots: the median of those
// that were made the same way, cloned or not, or 0 when there are none. They come oldest first, once for each target.
func expectedHold(all []stored, cloned bool) int64 {
	const last = 5
	var held []int64
	seen := make(map[snapshot.ID]bool)
	for _, s := range slices.Backward(all) {
		if len(held) == last {
			break
		}
		if !s.Good() || seen[s.ID] || cloned != (s.Contents.Cloned > 0) {
			continue
		}
		seen[s.ID] = true
		held = append(held, s.HeldMS())
	}
	if len(held) == 0 {
		return 0
	}
	slices.Sort(held)
	return held[len(held)/2]
}

// notCloned is why a volume is going to be read while its containers are held, or nil when it is going to be cloned. It goes by what can be
// seen without asking the engine for anything.
func notCloned(v plan.Volume) error {
	if len(v.Options) > 0 {
		return errors.New("it is read through a helper container")
	}
	_, err := backup.Clones(v, v.Mountpoint)
	return err
}
