// Package audit says of what lies on a target whether each volume in it is backed up: how old its newest good snapshot is, and how many others
// there are that count for nothing. It goes by the target alone, whoever has made the snapshots. It decides purely; listings are given to it.
package audit

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/snapshot"
)

// Volume is what one target has of one volume.
type Volume struct {
	Host   string
	Volume string

	Newest snapshot.Manifest // the newest good snapshot; zero when there is none
	Proven time.Time         // when any of the good ones was last proven restorable; zero for never

	Good         int // snapshots that count
	Suspect      int // that do not, as what they hold is not believed
	Fuzzy        int // that do not, as they did not hold still
	Damaged      int // that did not verify, as far as this machine knows
	FailedDrills int // that failed when they were last tried out
	Future       int // dated later than now: no age can be told by them
	Unreadable   int // whose manifests cannot be read or believed
}

// Of takes stock of the listing of one volume; ok is false when there is no snapshot in it.
func Of(l catalog.Listing, now time.Time) (v Volume, ok bool) {
	for _, u := range l.Unreadable {
		v.Host, v.Volume = u.Ref.Host, u.Ref.Volume
		v.Unreadable++
	}
	for _, s := range l.Snapshots {
		v.Host, v.Volume = s.Host, s.Volume
		v.count(s, now)
	}
	return v, len(l.Snapshots)+len(l.Unreadable) > 0
}

func (v *Volume) count(s catalog.Snapshot, now time.Time) {
	switch {
	case s.Proof.Damaged != "":
		v.Damaged++
	case s.Suspect != "":
		v.Suspect++
	case s.DrillFailed():
		v.FailedDrills++
	case !s.Good():
		v.Fuzzy++
	case s.Taken.After(now.Add(retention.Skew)):
		v.Future++
	default:
		v.good(s)
	}
}

func (v *Volume) good(s catalog.Snapshot) {
	v.Good++
	if !s.Taken.Before(v.Newest.Taken) {
		v.Newest = s.Manifest
	}
	if at := s.Proven().At; at.After(v.Proven) {
		v.Proven = at
	}
}

// Bad counts in words what does not count; "" for nothing.
func (v Volume) Bad() string {
	var words []string
	for _, c := range []struct {
		n    int
		what string
	}{{v.Suspect, "suspect"}, {v.Fuzzy, "fuzzy"}, {v.Damaged, "damaged"}, {v.FailedDrills, "with a failed drill"}, {v.Future, "dated in the future"}, {v.Unreadable, "unreadable"}} {
		if c.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	return strings.Join(words, ", ")
}

// Age is how old the newest good snapshot is; a clock that is a little behind makes it no younger than now.
func (v Volume) Age(now time.Time) time.Duration { return max(now.Sub(v.Newest.Taken), 0) }

// AnyAge is no limit.
const AnyAge = time.Duration(math.MaxInt64)

// Problem says what is wrong with a volume whose newest good snapshot may be so old; "" for nothing.
func (v Volume) Problem(now time.Time, oldest time.Duration) string {
	switch age := v.Age(now); {
	case v.Good == 0 && v.Bad() == "":
		return "it has no snapshot"
	case v.Good == 0:
		return fmt.Sprintf("it has no good snapshot (%s)", v.Bad())
	case age > oldest:
		return fmt.Sprintf("its newest good snapshot, %s, is %s old, and may be %s", v.Newest.ID, about(age), retention.FormatPeriod(oldest))
	}
	return ""
}

// about is an age as exact as people want it.
func about(age time.Duration) string {
	unit := time.Minute
	if age >= 3*time.Hour {
		unit = time.Hour
	}
	return retention.FormatPeriod(age.Truncate(unit))
}
