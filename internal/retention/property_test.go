package retention_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/snapshot"
)

// Snapshots lie around now and the turn of a clock, close enough together to share hours, days, weeks and years.
func drawSnapshots(t *rapid.T) []retention.Snapshot {
	steps := []time.Duration{0, 10 * time.Minute, time.Hour, 7 * time.Hour, day, 6 * day, 40 * day, 300 * day}
	taken := now.Add(rapid.SampledFrom([]time.Duration{0, 3 * time.Minute, time.Hour, 2 * day, 700 * day}).Draw(t, "ahead"))
	var all []retention.Snapshot
	for i := range rapid.IntRange(0, 30).Draw(t, "snapshots") {
		taken = taken.Add(-rapid.SampledFrom(steps).Draw(t, "step"))
		all = append(all, retention.Snapshot{
			ID:     snapshot.ID(fmt.Sprintf("%s-%08x", taken.Format("20060102T150405Z"), i)),
			Taken:  taken,
			Good:   rapid.IntRange(0, 3).Draw(t, "good") > 0,
			Pinned: rapid.IntRange(0, 7).Draw(t, "pinned") == 0,
		})
		if s := &all[i]; rapid.IntRange(0, 7).Draw(t, "damaged") == 0 {
			s.Good, s.Damaged = false, true
		}
		if s := &all[i]; rapid.IntRange(0, 7).Draw(t, "failed") == 0 {
			s.Good, s.Failed = false, true
		}
		if rapid.IntRange(0, 3).Draw(t, "proven") == 0 {
			all[i].Proven = taken.Add(time.Hour)
		}
	}
	return all
}

func drawPolicy(t *rapid.T) retention.Policy {
	count := rapid.IntRange(0, 6)
	return retention.Policy{
		Last: count.Draw(t, "last"), Hourly: count.Draw(t, "hourly"), Daily: count.Draw(t, "daily"),
		Weekly: count.Draw(t, "weekly"), Monthly: count.Draw(t, "monthly"), Yearly: count.Draw(t, "yearly"),
		Within: time.Duration(rapid.IntRange(0, 400).Draw(t, "within")) * 6 * time.Hour,
		All:    rapid.IntRange(0, 15).Draw(t, "all") == 0,
	}
}

func drawZone(t *rapid.T) *time.Location {
	zone, err := time.LoadLocation(rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia"}).Draw(t, "zone"))
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func check(t *testing.T, property func(t *rapid.T, p retention.Policy, snaps []retention.Snapshot, zone *time.Location)) {
	rapid.Check(t, func(t *rapid.T) { property(t, drawPolicy(t), drawSnapshots(t), drawZone(t)) })
}

func ids(snaps []retention.Snapshot) map[snapshot.ID]bool {
	all := map[snapshot.ID]bool{}
	for _, s := range snaps {
		all[s.ID] = true
	}
	return all
}

func unsound(s retention.Snapshot) bool { return s.Damaged || s.Failed }

// obvious decides about one snapshot by comparing it with all others, each rule for itself, without any order or state.
func obvious(p retention.Policy, s retention.Snapshot, snaps []retention.Snapshot, zone *time.Location) bool {
	past := func(o retention.Snapshot) bool { return !o.Taken.After(now.Add(5 * time.Minute)) }
	newer := func(o, than retention.Snapshot) bool {
		return o.Taken.After(than.Taken) || o.Taken.Equal(than.Taken) && o.ID > than.ID
	}
	some := func(f func(o retention.Snapshot) bool) bool { return slices.ContainsFunc(snaps, f) }

	if p.All || s.Pinned || !past(s) || unsound(s) {
		return true
	}
	proven := func(o retention.Snapshot) bool { return past(o) && !unsound(o) && !o.Proven.IsZero() }
	if proven(s) && !some(func(o retention.Snapshot) bool { return proven(o) && newer(o, s) }) {
		return true
	}
	if !s.Good {
		return !some(func(o retention.Snapshot) bool { return past(o) && newer(o, s) && (o.Good || !o.Pinned) && !unsound(o) })
	}
	if !some(func(o retention.Snapshot) bool { return o.Good && past(o) && newer(o, s) }) {
		return true
	}
	counts := func(o retention.Snapshot) bool { return o.Good && !o.Pinned && past(o) }
	// Buckets as numbers, by arithmetic on the clock's reading.
	reading := func(o retention.Snapshot) int64 {
		_, offset := o.Taken.In(zone).Zone()
		return o.Taken.Unix() + int64(offset)
	}
	floor := func(n, by int64) int64 { return (n - ((n%by)+by)%by) / by }
	rules := []struct {
		count  int
		bucket func(o retention.Snapshot) string
	}{
		{p.Last, func(o retention.Snapshot) string { return string(o.ID) }},
		{p.Hourly, func(o retention.Snapshot) string {
			return fmt.Sprint(floor(reading(o), 3600), reading(o)-o.Taken.Unix())
		}},
		{p.Daily, func(o retention.Snapshot) string { return fmt.Sprint(floor(reading(o), 86400)) }},
		{p.Weekly, func(o retention.Snapshot) string { return fmt.Sprint(floor(reading(o)+3*86400, 7*86400)) }}, // 1970 began on a Thursday
		{p.Monthly, func(o retention.Snapshot) string {
			return fmt.Sprint(o.Taken.In(zone).Year(), o.Taken.In(zone).Month())
		}},
		{p.Yearly, func(o retention.Snapshot) string { return fmt.Sprint(o.Taken.In(zone).Year()) }},
	}
	for _, r := range rules {
		newerBuckets, newest := map[string]bool{}, true
		for _, o := range snaps {
			switch {
			case !counts(o) || !newer(o, s):
			case r.bucket(o) == r.bucket(s):
				newest = false
			default:
				newerBuckets[r.bucket(o)] = true
			}
		}
		if newest && len(newerBuckets) < r.count {
			return true
		}
	}
	return !some(func(o retention.Snapshot) bool {
		return o.Good && past(o) && o.Taken.Sub(s.Taken) >= p.Within
	}) && p.Within > 0
}

func TestAsTheObviousModelHasIt(t *testing.T) {
	check(t, func(t *rapid.T, p retention.Policy, snaps []retention.Snapshot, zone *time.Location) {
		verdicts := retention.Decide(p, snaps, now, zone)
		if len(verdicts) != len(snaps) {
			t.Fatalf("%d verdicts on %d snapshots", len(verdicts), len(snaps))
		}
		for _, v := range verdicts {
			if want := obvious(p, v.Snapshot, snaps, zone); v.Keep != want || len(v.Reasons) == 0 {
				t.Errorf("%+v: keep %t, want %t", v, v.Keep, want)
			}
		}
	})
}

func TestWhateverThePolicy(t *testing.T) {
	check(t, func(t *rapid.T, p retention.Policy, snaps []retention.Snapshot, zone *time.Location) {
		var newestGood, lastProven *retention.Verdict
		for _, v := range retention.Decide(p, snaps, now, zone) {
			ahead := v.Taken.After(now.Add(retention.Skew))
			if !v.Keep && (ahead || v.Pinned || p.All || unsound(v.Snapshot)) {
				t.Errorf("%+v should stay", v)
			}
			if v.Good && !ahead && newestGood == nil {
				newestGood = &v
			}
			if !v.Proven.IsZero() && !ahead && !unsound(v.Snapshot) && lastProven == nil {
				lastProven = &v
			}
		}
		if lastProven != nil && !lastProven.Keep {
			t.Errorf("%+v is the last proven one and should stay", lastProven)
		}
		if newestGood != nil && !newestGood.Keep {
			t.Errorf("%+v is the newest good one and should stay", newestGood)
		}
	})
}

func TestDecidingAgainRemovesNothing(t *testing.T) {
	check(t, func(t *rapid.T, p retention.Policy, snaps []retention.Snapshot, zone *time.Location) {
		rest := kept(retention.Decide(p, snaps, now, zone))
		if again := kept(retention.Decide(p, rest, now, zone)); !cmp.Equal(again, rest) {
			t.Errorf("first %v, then %v", rest, again)
		}
	})
}

func TestALargerPolicyKeepsNoLess(t *testing.T) {
	check(t, func(t *rapid.T, p retention.Policy, snaps []retention.Snapshot, zone *time.Location) {
		more := drawPolicy(t)
		larger := retention.Policy{
			Last: p.Last + more.Last, Hourly: p.Hourly + more.Hourly, Daily: p.Daily + more.Daily, Weekly: p.Weekly + more.Weekly,
			Monthly: p.Monthly + more.Monthly, Yearly: p.Yearly + more.Yearly, Within: p.Within + more.Within, All: p.All || more.All,
		}
		stay := ids(kept(retention.Decide(larger, snaps, now, zone)))
		for _, s := range kept(retention.Decide(p, snaps, now, zone)) {
			if !stay[s.ID] {
				t.Errorf("%v stays by %q, and not by %q", s, p, larger)
			}
		}
	})
}

func TestTheOrderOfSnapshotsDoesNotMatter(t *testing.T) {
	check(t, func(t *rapid.T, p retention.Policy, snaps []retention.Snapshot, zone *time.Location) {
		shuffled := slices.Clone(snaps)
		if len(shuffled) > 0 {
			shuffled = rapid.Permutation(shuffled).Draw(t, "shuffled")
		}
		before := slices.Clone(shuffled)
		one, other := retention.Decide(p, snaps, now, zone), retention.Decide(p, shuffled, now, zone)
		if diff := cmp.Diff(one, other); diff != "" {
			t.Errorf("(-in order +shuffled):\n%s", diff)
		}
		if !cmp.Equal(shuffled, before) {
			t.Errorf("the caller's snapshots were put in another order")
		}
	})
}
