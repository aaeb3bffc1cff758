package doctor

import (
	"context"
	"time"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/schedule"
)

// Lister lists what is stored for a host.
type Lister interface {
	All(ctx context.Context) (catalog.Listing, error)
}

// stored looks at the snapshots on a target: whether manifests can be read, whose they are, what is damaged, and by which clock they were
// taken.
func stored(r *Report, l catalog.Listing, owner string, now time.Time) {
	for _, u := range l.Unreadable {
		r.Fail("put that manifest back from another target, or remove it by hand: until then retention removes nothing of the volume",
			"volume %q: %v", u.Ref.Volume, u.Err)
	}
	for _, err := range l.Unknown {
		r.Warn("", "%v", err)
	}
	stranger(r, l.Snapshots, owner)
	var newest catalog.Snapshot
	for _, s := range l.Snapshots {
		if why := s.Proof.Damaged; why != "" {
			r.Fail("look at that disk or server; \"backupd verify "+string(s.ID)+"\" reads it again; \"backupd backup\" makes a new one; \"backupd rm\" gives this one up",
				"volume %q: snapshot %s is DAMAGED: %s", s.Volume, s.ID, why)
		}
		if s.Taken.After(newest.Taken) {
			newest = s
		}
	}
	ahead(r, newest, now)
	if len(l.Snapshots) > 0 {
		r.OK("snapshots: %d, the newest taken %s", len(l.Snapshots), newest.Taken.Local().Format("2006-01-02 15:04"))
	}
}

func stranger(r *Report, all []catalog.Snapshot, owner string) {
	for _, s := range all {
		if s.Owner != owner {
			r.Fail("give each host a BACKUPD_HOST of its own; or, if this host has lost its state directory, write \""+s.Owner+"\" to the file \"owner\" in it",
				"snapshots here were made by another backupd under the host name %q, such as %s of volume %q: retention removes nothing", s.Host, s.ID, s.Volume)
			return
		}
	}
}

func ahead(r *Report, newest catalog.Snapshot, now time.Time) {
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
			l, err := target.All(ctx)
			if err != nil {
				where = "on any target that can be listed"
			}
			for _, s := range l.Snapshots {
				good[s.Volume] = good[s.Volume] || s.Good()
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

// Verified looks whether what is stored is read back as often as it is meant to be.
func Verified(spec schedule.Spec, known ledger.Round, host string, zone *time.Location, now time.Time) Check {
	return Check{Name: "verifying", Look: func(_ context.Context, r *Report) {
		if spec.String() == "" {
			r.Note("BACKUPD_VERIFY is off: only \"backupd verify\" finds out whether what is stored still opens")
			return
		}
		last, word := known.Ended, "the last round ended"
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
