package doctor

import (
	"context"
	"iter"
	"time"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/schedule"
	"github.com/backupd/backupd/internal/snapshot"
)

// Lister lists what is stored for a host, volume by volume: there may be more than fits into memory.
type Lister interface {
	Each(ctx context.Context, q catalog.Query) iter.Seq2[catalog.Listing, error]
}

// tally is what there is to know of all snapshots on a target.
type tally struct {
	snapshots int
	newest    snapshot.Manifest
	strange   snapshot.Manifest // one that somebody else has made
	last      int64             // bytes that the last ones of all volumes are made of
}

// stored looks at the snapshots on a target: whether manifests can be read, whose they are, what is damaged, and by which clock they were
// taken.
func stored(ctx context.Context, r *Report, at Place, now time.Time) (t tally, err error) {
	for l, err := range at.Lister.Each(ctx, catalog.Query{}) {
		if err != nil {
			return t, err
		}
		harmed(r, l)
		t.add(l.Snapshots, at.Owner)
	}
	stranger(r, t.strange)
	ahead(r, t.newest, now)
	if t.snapshots > 0 {
		r.OK("snapshots: %d, the newest taken %s", t.snapshots, t.newest.Taken.Local().Format("2006-01-02 15:04"))
	}
	return t, nil
}

// harmed tells of what cannot be read of a volume.
func harmed(r *Report, l catalog.Listing) {
	for _, u := range l.Unreadable {
		r.Fail("put that manifest back from another target, or remove it by hand: until then retention removes nothing of the volume",
			"volume %q: %v", u.Ref.Volume, u.Err)
	}
	for _, err := range l.Unknown {
		r.Warn("", "%v", err)
	}
	for _, s := range l.Snapshots {
		if why := s.Proof.Damaged; why != "" {
			r.Fail("look at that disk or server; \"backupd verify "+string(s.ID)+"\" reads it again; \"backupd backup\" makes a new one; \"backupd rm --from\" this target, and then \"backupd sync\", takes it from another one",
				"volume %q: snapshot %s is DAMAGED: %s", s.Volume, s.ID, why)
		}
	}
}

// add counts the snapshots of a volume.
func (t *tally) add(volume []catalog.Snapshot, owner string) {
	var last catalog.Snapshot
	for _, s := range volume {
		t.snapshots++
		if s.Taken.After(last.Taken) {
			last = s
		}
		if s.Owner != owner && t.strange.ID == "" {
			t.strange = s.Manifest
		}
	}
	if len(volume) > 0 {
		t.last += last.ReadBytes() // the next may be a full one
	}
	if last.Taken.After(t.newest.Taken) {
		t.newest = last.Manifest
	}
}

func stranger(r *Report, m snapshot.Manifest) {
	if m.ID != "" {
		r.Fail("give each host a BACKUPD_HOST of its own; or, if this host has lost its state directory, write \""+m.Owner+"\" to the file \"owner\" in it",
			"snapshots here were made by another backupd under the host name %q, such as %s of volume %q: retention removes nothing", m.Host, m.ID, m.Volume)
	}
}

func ahead(r *Report, newest snapshot.Manifest, now time.Time) {
	if by := newest.Taken.Sub(now); by > retention.Skew {
		r.Warn("set the clock by NTP (timedatectl set-ntp true); snapshots from the future stay and count for nothing until their time has come",
			"snapshot %s of volume %q was taken %s in the future: this machine's clock is wrong, or was", newest.ID, newest.Volume, days(by))
	}
}

// Covered looks whether there is something to restore of each volume that is enrolled, on any target.
func Covered(f Finder, from map[string]Lister) Check {
	return Check{Name: "snapshots", Look: func(ctx context.Context, r *Report) {
		volumes, err := f.Volumes(ctx)
		if err != nil {
			return // told by who looks at the volumes
		}
		good := map[string]bool{}
		where := "on any target"
		for _, target := range from {
			for l, err := range target.Each(ctx, catalog.Query{}) {
				if err != nil {
					where = "on any target that can be listed"
				}
				for _, s := range l.Snapshots {
					good[s.Volume] = good[s.Volume] || s.Good()
				}
			}
		}
		uncovered(r, volumes, good, where)
	}}
}

func uncovered(r *Report, volumes []plan.Volume, good map[string]bool, where string) {
	without := 0
	for _, v := range volumes {
		if !good[v.Name] {
			without++
			r.Warn("\"backupd backup "+v.Name+"\" makes one now", "volume %q has no good snapshot %s", v.Name, where)
		}
	}
	if without == 0 && len(volumes) > 0 {
		r.OK("each enrolled volume has a good one")
	}
}

// Verified looks whether what is stored is read back as often as it is meant to be, by rounds or by hand.
func Verified(spec schedule.Spec, known ledger.Round, byHand time.Time, host string, zone *time.Location, now time.Time) Check {
	return Check{Name: "verifying", Look: func(_ context.Context, r *Report) {
		if spec.String() == "" {
			r.Note("BACKUPD_VERIFY is off: only \"backupd verify\" finds out whether what is stored still opens")
			return
		}
		last, word := known.Ended, "the last round ended"
		if byHand.After(last) {
			last, word = byHand, "what is stored was last verified, by hand,"
		}
		if last.IsZero() {
			last, word = known.Since, "no round has come to its end since the daemon first ran,"
		}
		if last.IsZero() {
			r.Note("the daemon has not run yet, so nothing was verified by itself (%s)", spec)
			return
		}
		s := spec.For(host, zone)
		if s.Next(s.Next(last)).Before(now) {
			r.Warn("look into the daemon's log for why; \"backupd verify\" does it now", "%s %s ago, and it is meant to be %s", word, days(now.Sub(last)), spec)
			return
		}
		r.OK("%s %s ago (%s)", word, days(now.Sub(last)), spec)
	}}
}
