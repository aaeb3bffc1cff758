package retention_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/snapshot"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC) // a Friday

// snaps reads snapshots from words such as "2026-11-20T10:00:00Z" with marks after it: ! not good, ? damaged, - failed
// its drill, + proven by one of the day after, * pinned. A day alone is its noon.
func snaps(t *testing.T, words string) []retention.Snapshot {
	t.Helper()
	var all []retention.Snapshot
	for i, word := range strings.Fields(words) {
		when := strings.TrimRight(word, "!?*+-")
		taken, err := time.Parse(time.RFC3339, when)
		if err != nil {
			taken, err = time.Parse(time.DateOnly, when)
			taken = taken.Add(12 * time.Hour)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, retention.Snapshot{
			ID:     snapshot.ID(fmt.Sprintf("%s-%08x", taken.UTC().Format("20060102T150405Z"), i)),
			Taken:  taken,
			Good:   !strings.ContainsAny(word, "!?") && !strings.HasSuffix(word, "-"),
			Pinned: strings.Contains(word, "*"),

			Damaged: strings.Contains(word, "?"),
			Failed:  strings.HasSuffix(word, "-"),
		})
		if strings.Contains(word, "+") {
			all[i].Proven = taken.AddDate(0, 0, 1)
		}
	}
	return all
}

func TestDecide(t *testing.T) {
	const berlin = "Europe/Berlin"
	tests := map[string]struct {
		policy, zone, snaps string
		want                string // kept, newest first
	}{
		"nothing to judge":                       {"last=1", "", "", ""},
		"newest survives a policy of nothing":    {"", "", "2026-11-18 2026-11-19", "2026-11-19"},
		"newest survives however old it is":      {"last=0 daily=1", "", "2020-01-01", "2020-01-01"},
		"all keeps all":                          {"all", "", "2020-01-01! 2026-11-18 2026-11-19 2031-01-01", "2031-01-01 2026-11-19 2026-11-18 2020-01-01!"},
		"last counts snapshots":                  {"last=2", "", "2026-11-01 2026-11-18 2026-11-19", "2026-11-19 2026-11-18"},
		"last with fewer than that":              {"last=9", "", "2026-11-18 2026-11-19", "2026-11-19 2026-11-18"},
		"a day's newest stays":                   {"daily=2", "", "2026-11-18T01:00:00Z 2026-11-18T23:00:00Z 2026-11-19T05:00:00Z", "2026-11-19T05:00:00Z 2026-11-18T23:00:00Z"},
		"days without snapshots do not count":    {"daily=3", "", "2026-03-01 2026-07-01 2026-10-01 2026-11-19", "2026-11-19 2026-10-01 2026-07-01"},
		"rules overlap, and do not add up":       {"last=2 daily=2", "", "2026-11-17 2026-11-18 2026-11-19", "2026-11-19 2026-11-18"},
		"rules reach different depths":           {"last=1 monthly=2 yearly=2", "", "2025-06-01 2025-12-31 2026-10-31 2026-11-18 2026-11-19", "2026-11-19 2026-10-31 2025-12-31"},
		"within counts from the newest good":     {"within=2d", "", "2020-01-07 2020-01-08 2020-01-09 2020-01-10", "2020-01-10 2020-01-09"},
		"within is not reached by what is not":   {"within=1d", "", "2026-11-17 2026-11-18 2026-11-19!", "2026-11-19! 2026-11-18"},
		"months end at midnight of the zone":     {"monthly=2", berlin, "2026-10-31T22:30:00Z 2026-10-31T23:30:00Z 2026-11-19", "2026-11-19 2026-10-31T22:30:00Z"},
		"months by another zone":                 {"monthly=2", "", "2026-10-31T22:30:00Z 2026-10-31T23:30:00Z 2026-11-19", "2026-11-19 2026-10-31T23:30:00Z"},
		"31st and 1st are two months":            {"monthly=2", "", "2026-10-30 2026-10-31 2026-11-01", "2026-11-01 2026-10-31"},
		"a week goes from Monday to Sunday":      {"weekly=2", "", "2026-11-08 2026-11-09 2026-11-15 2026-11-16", "2026-11-16 2026-11-15"},
		"a week goes on over New Year":           {"weekly=2", "", "2025-12-28 2025-12-29 2025-12-31 2026-01-01 2026-01-04", "2026-01-04 2025-12-28"},
		"week 53":                                {"weekly=2", "", "2020-12-27 2020-12-28 2021-01-03 2021-01-04", "2021-01-04 2021-01-03"},
		"the hour that autumn repeats is two":    {"hourly=3", berlin, "2026-10-24T23:30:00Z 2026-10-25T00:30:00Z 2026-10-25T01:30:00Z", "2026-10-25T01:30:00Z 2026-10-25T00:30:00Z 2026-10-24T23:30:00Z"},
		"a day of 25 hours is one":               {"daily=2", berlin, "2026-10-24T22:30:00Z 2026-10-25T22:30:00Z 2026-10-25T23:30:00Z", "2026-10-25T23:30:00Z 2026-10-25T22:30:00Z"},
		"a day of 23 hours is one":               {"daily=2", berlin, "2026-03-28T22:30:00Z 2026-03-28T23:30:00Z 2026-03-29T21:30:00Z", "2026-03-29T21:30:00Z 2026-03-28T22:30:00Z"},
		"a clock set back over midnight":         {"daily=3", "America/Sao_Paulo", "2018-02-17T12:00:00Z 2018-02-18T01:30:00Z 2018-02-18T02:30:00Z 2018-02-18T03:30:00Z", "2018-02-18T03:30:00Z 2018-02-18T02:30:00Z"},
		"the future stays and counts for naught": {"last=1", "", "2026-11-18 2026-11-19 2026-11-21 2031-01-01", "2031-01-01 2026-11-21 2026-11-19"},
		"the future alone":                       {"last=1", "", "2031-01-01 2032-01-01", "2032-01-01 2031-01-01"},
		"bad ones in the future stay":            {"last=1", "", "2026-11-18 2031-01-01! 2032-01-01!", "2032-01-01! 2031-01-01! 2026-11-18"},
		"a little ahead is not the future":       {"last=1", "", "2026-11-19 2026-11-20T12:05:00Z", "2026-11-20T12:05:00Z"},
		"a little more is":                       {"last=1", "", "2026-11-19 2026-11-20T12:05:01Z", "2026-11-20T12:05:01Z 2026-11-19"},
		"pinned ones stay and take no place":     {"last=2", "", "2020-01-01* 2026-11-16 2026-11-17 2026-11-18* 2026-11-19", "2026-11-19 2026-11-18* 2026-11-17 2020-01-01*"},
		"the newest good one may be pinned":      {"last=1", "", "2026-11-17 2026-11-18 2026-11-19*", "2026-11-19* 2026-11-18"},
		"a pinned one hides no day":              {"daily=2", "", "2026-11-17 2026-11-18T01:00:00Z 2026-11-18T02:00:00Z*", "2026-11-18T02:00:00Z* 2026-11-18T01:00:00Z 2026-11-17"},
		"not good goes when a good one comes":    {"last=5 daily=5", "", "2026-11-17 2026-11-18! 2026-11-19", "2026-11-19 2026-11-17"},
		"not good stays while it is the newest":  {"last=1", "", "2026-11-17 2026-11-18 2026-11-19!", "2026-11-19! 2026-11-18"},
		"not good, only the newest":              {"last=9 within=9d", "", "2026-11-17 2026-11-18! 2026-11-19!", "2026-11-19! 2026-11-17"},
		"never a good one":                       {"last=9", "", "2026-11-17! 2026-11-18! 2026-11-19!", "2026-11-19!"},
		"not good but pinned stays":              {"last=1", "", "2026-11-16!* 2026-11-17 2026-11-18! 2026-11-19!*", "2026-11-19!* 2026-11-18! 2026-11-17 2026-11-16!*"},
		"damaged stays and takes no place":       {"last=1", "", "2026-11-16 2026-11-17 2026-11-18? 2026-11-19?", "2026-11-19? 2026-11-18? 2026-11-17"},
		"damaged long ago stays":                 {"last=1", "", "2026-11-01? 2026-11-17 2026-11-18", "2026-11-18 2026-11-01?"},
		"damaged lets no bad one go":             {"last=1", "", "2026-11-16 2026-11-17! 2026-11-18?", "2026-11-18? 2026-11-17! 2026-11-16"},
		"failed stays and takes no place":        {"last=1", "", "2026-11-16 2026-11-17 2026-11-18- 2026-11-19-", "2026-11-19- 2026-11-18- 2026-11-17"},
		"the last proven one stays":              {"last=1", "", "2026-11-15+ 2026-11-16+ 2026-11-17 2026-11-18", "2026-11-18 2026-11-16+"},
		"the last proven one takes no place":     {"last=2", "", "2026-11-15+ 2026-11-17 2026-11-18", "2026-11-18 2026-11-17 2026-11-15+"},
		"proven before it was found damaged":     {"last=1", "", "2026-11-15+ 2026-11-16+? 2026-11-18", "2026-11-18 2026-11-16? 2026-11-15+"},
		"proven before it failed":                {"last=1", "", "2026-11-15+ 2026-11-16+- 2026-11-18", "2026-11-18 2026-11-16- 2026-11-15+"},
		"proven, though not good":                {"last=1", "", "2026-11-15+ 2026-11-16+! 2026-11-18", "2026-11-18 2026-11-16!"},
		"proven and pinned":                      {"last=1", "", "2026-11-15+ 2026-11-16+* 2026-11-18", "2026-11-18 2026-11-16*"},
		"proven in the future":                   {"last=1", "", "2026-11-15+ 2026-11-18 2031-01-01+", "2031-01-01 2026-11-18 2026-11-15+"},
		"taken at one moment, by id":             {"last=1", "", "2026-11-19 2026-11-19 2026-11-18", "2026-11-19"},
		"a year's silence takes nothing":         {"last=1 within=3d", "", "2025-11-01 2025-11-02 2025-11-03", "2025-11-03 2025-11-02 2025-11-01"},
		"seven days and four weeks":              {"daily=7 weekly=4", "", everyDay("2026-10-01", 50), "2026-11-19 2026-11-18 2026-11-17 2026-11-16 2026-11-15 2026-11-14 2026-11-13 2026-11-08 2026-11-01"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			zone, err := time.LoadLocation(test.zone)
			if err != nil {
				t.Fatal(err)
			}
			var policy retention.Policy
			if test.policy != "" {
				if policy, err = retention.Parse(test.policy); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(marks(snaps(t, test.want)), marks(kept(retention.Decide(policy, snaps(t, test.snaps), now, zone)))); diff != "" {
				t.Errorf("kept (-want +got):\n%s", diff)
			}
		})
	}
}

func everyDay(first string, days int) string {
	at, err := time.Parse(time.DateOnly, first)
	if err != nil {
		return err.Error()
	}
	var all []string
	for i := range days {
		all = append(all, at.AddDate(0, 0, i).Format(time.DateOnly))
	}
	return strings.Join(all, " ")
}

func kept(verdicts []retention.Verdict) []retention.Snapshot {
	var all []retention.Snapshot
	for _, v := range verdicts {
		if v.Keep {
			all = append(all, v.Snapshot)
		}
	}
	return all
}

// marks leaves out the ids, which the words of a test do not settle.
func marks(snaps []retention.Snapshot) []string {
	var all []string
	for _, s := range snaps {
		all = append(all, fmt.Sprintf("%s good=%t pinned=%t", s.Taken.UTC().Format(time.RFC3339), s.Good, s.Pinned))
	}
	return all
}

func TestReasons(t *testing.T) {
	policy := retention.Policy{Last: 1, Hourly: 1, Daily: 3, Weekly: 1, Monthly: 1, Yearly: 1, Within: 36 * time.Hour}
	verdicts := retention.Decide(policy, snaps(t, `2031-01-01*  2026-11-20! 2026-11-19! 2026-11-18 2026-11-17 2026-11-16 2026-11-15! 2026-11-14
		2026-11-13* 2026-11-12- 2026-11-11+ 2026-11-10+`), now, time.UTC)
	var got []string
	for _, v := range verdicts {
		got = append(got, fmt.Sprintf("%s %t: %s", v.Taken.Format(time.DateOnly), v.Keep, strings.Join(v.Reasons, ", ")))
	}
	want := []string{
		"2031-01-01 true: pinned, dated in the future",
		"2026-11-20 true: not good, but newer than any good one",
		"2026-11-19 false: not good, and superseded by a newer one",
		"2026-11-18 true: newest good, last 1 of 1, hourly 2026-11-18T12Z (1 of 1), daily 2026-11-18 (1 of 3), weekly 2026-W47 (1 of 1), " +
			"monthly 2026-11 (1 of 1), yearly 2026 (1 of 1), within 36h of the newest good",
		"2026-11-17 true: daily 2026-11-17 (2 of 3), within 36h of the newest good",
		"2026-11-16 true: daily 2026-11-16 (3 of 3)",
		"2026-11-15 false: not good, and a newer good one exists",
		"2026-11-14 false: no rule keeps it",
		"2026-11-13 true: pinned",
		"2026-11-12 true: failed its drill: it counts for nothing, and stays for somebody to look at",
		"2026-11-11 true: last proven by a drill of 2026-11-12",
		"2026-11-10 false: no rule keeps it",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
