package retention

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/backupd/backupd/internal/snapshot"
)

// Skew is how far ahead of now a snapshot may be dated and still count as an ordinary one: hosts' clocks differ a little.
const Skew = 5 * time.Minute

// Snapshot is what retention needs to know of one.
type Snapshot struct {
	ID     snapshot.ID
	Taken  time.Time
	Good   bool // as still as was asked for (see snapshot.Manifest.Good), and neither damaged nor failed
	Pinned bool

	Damaged bool      // its archive did not verify when it was last read back
	Failed  bool      // its last drill, so that it is not to be restored as it is
	Proven  time.Time // when the newest drill was that proved it to be restorable; zero for none

	Archives []snapshot.ID // that it is read from, by the snapshots that wrote them
}

// proof tells whether the snapshot is known to be restorable.
func (s Snapshot) proof() bool { return !s.Proven.IsZero() && !s.Damaged && !s.Failed }

// Verdict is whether a snapshot stays, and why or why not.
type Verdict struct {
	Snapshot
	Keep    bool
	Reasons []string // at least one, to be read by people
}

// Decide judges all snapshots of one volume on one target, and gives the verdicts newest first.
//
// Whatever the policy, these stay: the newest good snapshot; the newest that a drill has proven to be restorable; those that are pinned;
// those dated in the future; and the newest of those that are not good, until there is a newer good one; and those that are damaged or
// failed their last drill, until somebody removes them, or they prove to be whole after all: a disk, or a machine's memory, that has read
// wrongly must not cost what is stored. No rule counts what is pinned, not good, damaged, failed or dated in the future, so that it takes
// no place from what would have stayed without it.
//
// Nothing depends on now except what is in the future: long after the last run, or by a clock that is far ahead, the same stays.
// Days, weeks, months and years are those of zone's clock; of the hour that it repeats in autumn both count.
func Decide(p Policy, snaps []Snapshot, now time.Time, zone *time.Location) []Verdict {
	snaps = slices.Clone(snaps)
	slices.SortFunc(snaps, newestFirst)
	j := judge{policy: p, now: now, zone: zone, buckets: p.buckets(zone)}
	verdicts := make([]Verdict, 0, len(snaps))
	for _, s := range snaps {
		keep, drop := j.judge(s)
		if len(keep) > 0 {
			verdicts = append(verdicts, Verdict{s, true, keep})
		} else {
			verdicts = append(verdicts, Verdict{s, false, []string{drop}})
		}
	}
	return verdicts
}

func newestFirst(a, b Snapshot) int { return cmp.Or(b.Taken.Compare(a.Taken), cmp.Compare(b.ID, a.ID)) }

// judge has snapshots come by from the newest to the oldest.
type judge struct {
	policy  Policy
	now     time.Time
	zone    *time.Location
	buckets []*bucket

	good   bool      // one has come by
	newest time.Time // when the first good one was taken
	last   int       // how many the rule of that name has kept
	bad    bool      // one that is not good was kept for being the newest
	proven bool      // one that is has come by
}

// judge gives all reasons to keep the snapshot and, for when there is none, the reason not to.
func (j *judge) judge(s Snapshot) (keep []string, drop string) {
	if j.policy.All {
		keep = append(keep, "everything is kept")
	}
	if s.Pinned {
		keep = append(keep, "pinned")
	}
	if s.proof() && !j.proven && !inFuture(s, j.now) {
		j.proven = true
		keep = append(keep, "last proven by a drill of "+s.Proven.In(j.zone).Format(time.DateOnly))
	}
	switch {
	case s.Damaged:
		return append(keep, "damaged: it counts for nothing, and stays for somebody to look at"), ""
	case s.Failed:
		return append(keep, "failed its drill: it counts for nothing, and stays for somebody to look at"), ""
	case inFuture(s, j.now):
		return append(keep, "dated in the future"), ""
	case s.Good:
		return append(keep, j.judgeGood(s)...), "no rule keeps it"
	case j.good:
		return keep, "not good, and a newer good one exists"
	case j.bad:
		return keep, "not good, and superseded by a newer one"
	case !s.Pinned:
		j.bad = true
		keep = append(keep, "not good, but newer than any good one")
	}
	return keep, ""
}

func (j *judge) judgeGood(s Snapshot) (keep []string) {
	if !j.good {
		j.good, j.newest = true, s.Taken
		keep = append(keep, "newest good")
	}
	if s.Pinned {
		return keep
	}
	if j.last < j.policy.Last {
		j.last++
		keep = append(keep, fmt.Sprintf("last %d of %d", j.last, j.policy.Last))
	}
	for _, b := range j.buckets {
		if reason, taken := b.take(s.Taken); taken {
			keep = append(keep, reason)
		}
	}
	if j.newest.Sub(s.Taken) < j.policy.Within {
		keep = append(keep, "within "+FormatPeriod(j.policy.Within)+" of the newest good")
	}
	return keep
}

func inFuture(s Snapshot, now time.Time) bool { return s.Taken.After(now.Add(Skew)) }

// bucket is a rule that keeps the newest snapshot of each period, for so many periods that have any.
type bucket struct {
	rule   string
	count  int
	period func(time.Time) string
	seen   map[string]bool // periods; they need not come in one piece, as a clock can be set back over midnight
}

func (p Policy) buckets(zone *time.Location) []*bucket {
	in := func(layout string) func(time.Time) string {
		return func(t time.Time) string { return t.In(zone).Format(layout) }
	}
	week := func(t time.Time) string {
		year, week := t.In(zone).ISOWeek()
		return fmt.Sprintf("%04d-W%02d", year, week)
	}
	return []*bucket{
		{"hourly", p.Hourly, in("2006-01-02T15Z07:00"), map[string]bool{}},
		{"daily", p.Daily, in("2006-01-02"), map[string]bool{}},
		{"weekly", p.Weekly, week, map[string]bool{}},
		{"monthly", p.Monthly, in("2006-01"), map[string]bool{}},
		{"yearly", p.Yearly, in("2006"), map[string]bool{}},
	}
}

func (b *bucket) take(t time.Time) (reason string, taken bool) {
	period := b.period(t)
	if len(b.seen) >= b.count || b.seen[period] {
		return "", false
	}
	b.seen[period] = true
	return fmt.Sprintf("%s %s (%d of %d)", b.rule, period, len(b.seen), b.count), true
}
