package backup

import (
	"cmp"
	"slices"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/folder"
	"github.com/backupd/backupd/internal/recognise"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/suspicion"
)

// contents counts what is in an archive. Manifests of encrypted ones reveal no names of folders or files.
func (r *Runner) contents(sum folder.Summary) snapshot.Contents {
	databases := sum.Databases
	if !r.Seal.None() {
		databases = nil
		for _, kind := range recognise.Kinds(sum.Databases) {
			databases = append(databases, recognise.Find{Kind: kind})
		}
	}
	return snapshot.Contents{
		Entries: sum.Entries, Bytes: sum.Bytes, Vanished: sum.Vanished, Resized: sum.Resized, Sockets: sum.Sockets,
		Mounts: int64(len(sum.Mounts)), Cloned: sum.Cloned, Databases: databases,
	}
}

// judge compares a snapshot with the good ones before it, and puts into its manifest what came of that.
func (r *Runner) judge(m *snapshot.Manifest, history []snapshot.Manifest) {
	v := suspicion.Judge(m.Contents, history)
	if r.Accept || r.AllowEmpty && v.Empty {
		m.Accepted = v.Suspect
	} else {
		m.Suspect = v.Suspect
	}
	if v.Grown != "" {
		r.Log.Warn("a volume holds much more than it used to", "volume", m.Volume, "snapshot", m.ID, "what", v.Grown)
	}
}

// Settled tells that the snapshot is suspect for what it holds: to take it again at once would come to the same, and hold containers and
// read everything once more. A volume that is empty costs neither, and may be mounted by then.
func (r Result) Settled() bool {
	m := r.Manifest
	return m.Suspect != "" && !m.Contents.Empty() && slices.ContainsFunc(r.Targets, func(o Outcome) bool { return o.Err == nil })
}

// goods gives the newest good snapshots of a listing, newest first.
func goods(l catalog.Listing) (history []snapshot.Manifest) {
	for _, s := range slices.Backward(l.Snapshots) { // which are oldest first
		if s.Good() && len(history) < suspicion.Length {
			history = append(history, s.Manifest)
		}
	}
	return history
}

// recent joins the histories of a volume on two targets.
func recent(a, b []snapshot.Manifest) []snapshot.Manifest {
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(a, b snapshot.Manifest) int {
		return cmp.Or(b.Taken.Compare(a.Taken), cmp.Compare(b.ID, a.ID))
	})
	all = slices.CompactFunc(all, func(a, b snapshot.Manifest) bool { return a.ID == b.ID })
	return all[:min(len(all), suspicion.Length)]
}
