package gaps

import (
	"context"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/snapshot"
)

// proofs has targets learn of the newest proof that others have of a snapshot that both have. They are small, so that it is told only where
// that fails.
func (f Filler) proofs(ctx context.Context, v plan.Volume, l Limits, all map[string]catalog.Listing) (failed []Copy) {
	for _, to := range f.Targets {
		for _, s := range all[to.Name].Snapshots {
			from, proof := f.lacks(s, l, all)
			if proof.At.IsZero() || !l.fills(v, to.Name) {
				continue
			}
			if err := from.Catalog.CopyDrill(ctx, to.Catalog, s.Ref(), proof); err != nil {
				failed = append(failed, Copy{Volume: v.Name, Target: to.Name, Snapshot: s, Source: from.Name, Err: err})
			}
		}
	}
	return failed
}

// lacks gives the newest proof that there is elsewhere and not here, and where.
func (f Filler) lacks(s catalog.Snapshot, l Limits, all map[string]catalog.Listing) (source backup.Target, newest snapshot.Trial) {
	for _, from := range f.Targets {
		for _, other := range all[from.Name].Snapshots {
			ours := other.ID == s.ID && other.Owner == s.Owner && named(l.From, from.Name)
			if proof := s.Lacks(other); ours && proof.At.After(newest.At) {
				source, newest = from, proof
			}
		}
	}
	return source, newest
}
