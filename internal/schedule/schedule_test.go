package schedule_test

import (
	"testing"
	"time"
	_ "time/tzdata" // the years that are simulated must not depend on the machine's files

	"github.com/backupd/backupd/internal/schedule"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func parse(t *testing.T, text string) schedule.Spec {
	t.Helper()
	s, err := schedule.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Years in which clocks do all that clocks do: set forward and back by an hour in both hemispheres, by half an hour, at midnight,
// for a month of fasting, and over a whole day; and a leap year for which time zone files have only a rule.
var years = []struct {
	zone string
	year int
}{
	{"UTC", 2026},
	{"Europe/Berlin", 2026},
	{"America/New_York", 2026},
	{"Australia/Lord_Howe", 2026},
	{"Africa/Casablanca", 2026},
	{"America/Sao_Paulo", 2018},
	{"Pacific/Apia", 2011},
	{"Europe/Berlin", 2096},
}

// A spec, and what it says about the readings of a clock in words of another language.
var specs = []struct {
	text      string
	everyHour bool
	shows     func(r time.Time) bool
}{
	{"30 2 * * *", false, func(r time.Time) bool { return r.Hour() == 2 && r.Minute() == 30 }},
	{"@daily", false, func(r time.Time) bool { return r.Hour() == 0 && r.Minute() == 0 }},
	{"55 23 * * *", false, func(r time.Time) bool { return r.Hour() == 23 && r.Minute() == 55 }},
	{"*/20 1-3 * * *", false, func(r time.Time) bool { return r.Hour() >= 1 && r.Hour() <= 3 && r.Minute()%20 == 0 }},
	{"15 */2 * * *", false, func(r time.Time) bool { return r.Hour()%2 == 0 && r.Minute() == 15 }},
	{"0 2 * * sun", false, func(r time.Time) bool { return r.Weekday() == time.Sunday && r.Hour() == 2 && r.Minute() == 0 }},
	{"10 0 31 * 5", false, func(r time.Time) bool {
		return (r.Day() == 31 || r.Weekday() == time.Friday) && r.Hour() == 0 && r.Minute() == 10
	}},
	{"@monthly", false, func(r time.Time) bool { return r.Day() == 1 && r.Hour() == 0 && r.Minute() == 0 }},
	{"@hourly", true, func(r time.Time) bool { return r.Minute() == 0 }},
	{"10 * * * *", true, func(r time.Time) bool { return r.Minute() == 10 }},
	{"*/15 * * 3,10,11 *", true, func(r time.Time) bool {
		return (r.Month() == 3 || r.Month() == 10 || r.Month() == 11) && r.Minute()%15 == 0
	}},
	{"5 0-23 * * 0", true, func(r time.Time) bool { return r.Weekday() == time.Sunday && r.Minute() == 5 }},
}

// moment is an instant, and what the clock on the wall shows then.
type moment struct{ at, shown time.Time }

func moments(from, to time.Time, step time.Duration) []moment {
	var all []moment
	for at := from; !at.After(to); at = at.Add(step) {
		all = append(all, moment{at, time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), 0, time.UTC)})
	}
	return all
}

// watch is the slow and obvious model: somebody who looks at the clock at every moment, and runs when it shows such a time, or,
// for schedules that name hours, when one has come up, or was left out, since the clock was last as far as that.
func watch(all []moment, step time.Duration, everyHour bool, shows func(time.Time) bool) []time.Time {
	var runs []time.Time
	farthest := all[0].shown
	for _, m := range all[1:] {
		run := everyHour && shows(m.shown)
		for ; farthest.Before(m.shown); farthest = farthest.Add(step) {
			run = run || !everyHour && shows(farthest.Add(step))
		}
		if run {
			runs = append(runs, m.at)
		}
	}
	return runs
}

func chain(s schedule.Schedule, from, to time.Time) []time.Time {
	var runs []time.Time
	for at := s.Next(from); !at.IsZero() && !at.After(to); at = s.Next(at) {
		runs = append(runs, at)
	}
	return runs
}

// compare reports the first run that differs; all that come after it would.
func compare(t *testing.T, text string, want, got []time.Time) {
	t.Helper()
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			t.Errorf("%q: after %d runs none, want one at %s", text, i, want[i])
		case i >= len(want):
			t.Errorf("%q: after %d runs one at %s, want none", text, i, got[i])
		case !want[i].Equal(got[i]):
			t.Errorf("%q: run %d at %s, want it at %s", text, i, got[i], want[i])
		default:
			continue
		}
		return
	}
}

func TestAYearIsAsSomebodyWatchingTheClockWouldHaveIt(t *testing.T) {
	const look = 5 * time.Minute // divides all times of specs, and all at which clocks are set
	for _, y := range years {
		z := zone(t, y.zone)
		from, to := time.Date(y.year, 1, 1, 0, 0, 0, 0, z), time.Date(y.year+1, 1, 2, 0, 0, 0, 0, z)
		all := moments(from, to, look)
		for _, s := range specs {
			want := watch(all, look, s.everyHour, s.shows)
			got := chain(parse(t, s.text).For("", z), from, to)
			if len(want) == 0 {
				t.Errorf("%s %d %q: the model never runs", y.zone, y.year, s.text)
			}
			compare(t, s.text, want, got)
		}
	}
}

func TestSecondsAroundTheTurnOfClocks(t *testing.T) {
	fine := []struct {
		text      string
		everyHour bool
		shows     func(r time.Time) bool
	}{
		{"*/7 * * * * *", true, func(r time.Time) bool { return r.Second()%7 == 0 }},
		{"20,40 59 1-3 * * *", false, func(r time.Time) bool {
			return r.Second() > 0 && r.Second()%20 == 0 && r.Minute() == 59 && r.Hour() >= 1 && r.Hour() <= 3
		}},
		{"* 0 0,2,23 * * *", false, func(r time.Time) bool {
			return r.Minute() == 0 && (r.Hour() == 0 || r.Hour() == 2 || r.Hour() == 23)
		}},
	}
	for _, y := range years {
		z := zone(t, y.zone)
		for turn := range turns(time.Date(y.year, 1, 1, 0, 0, 0, 0, z), time.Date(y.year+1, 1, 1, 0, 0, 0, 0, z)) {
			from, to := turn.Add(-4*time.Hour), turn.Add(4*time.Hour)
			all := moments(from, to, time.Second)
			for _, s := range fine {
				want, got := watch(all, time.Second, s.everyHour, s.shows), chain(parse(t, s.text).For("", z), from, to)
				compare(t, s.text, want, got)
			}
		}
	}
}

// turns gives the moments at which the clock is set forward or back.
func turns(from, to time.Time) func(yield func(time.Time) bool) {
	return func(yield func(time.Time) bool) {
		_, before := from.Zone()
		for at := from; at.Before(to); at = at.Add(5 * time.Minute) {
			_, offset := at.Zone()
			if offset != before && !yield(at) {
				return
			}
			before = offset
		}
	}
}

func TestAFixedTimeRunsOnceOnEachLocalDay(t *testing.T) {
	for _, y := range years {
		if y.zone == "Pacific/Apia" {
			continue // has no 30 December in that year, whose run falls on the first moment of the 31st
		}
		for _, text := range []string{"30 2 * * *", "@daily", "0 59 23 * * *", "15 1 * * *", "H H * * *"} {
			z := zone(t, y.zone)
			from, to := time.Date(y.year-1, 12, 31, 23, 59, 59, 0, z), time.Date(y.year, 12, 31, 23, 59, 59, 0, z)
			days := map[int]int{}
			for _, at := range chain(parse(t, text).For("host/db", z), from, to) {
				days[at.YearDay()]++
			}
			last := to.YearDay()
			for day := 1; day <= last; day++ {
				if days[day] != 1 {
					t.Errorf("%s %d %q: %d runs on day %d of the year", y.zone, y.year, text, days[day], day)
				}
			}
		}
	}
}

func TestNext(t *testing.T) {
	tests := map[string]struct{ text, zone, after, want string }{
		"strictly after":                 {"0 3 * * *", "UTC", "2026-11-20T03:00:00Z", "2026-11-21T03:00:00Z"},
		"a moment before":                {"0 3 * * *", "UTC", "2026-11-20T02:59:59.999999999Z", "2026-11-20T03:00:00Z"},
		"spring: first after the gap":    {"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00+01:00", "2026-03-29T03:00:00+02:00"},
		"spring: not again that day":     {"30 2 * * *", "Europe/Berlin", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"},
		"autumn: the first":              {"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00+02:00", "2026-10-25T02:30:00+02:00"},
		"autumn: not the second":         {"30 2 * * *", "Europe/Berlin", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"},
		"autumn: asked in between":       {"30 2 * * *", "Europe/Berlin", "2026-10-25T02:10:00+01:00", "2026-10-26T02:30:00+01:00"},
		"autumn: each hour goes on":      {"30 * * * *", "Europe/Berlin", "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"},
		"spring: each hour goes on":      {"30 * * * *", "Europe/Berlin", "2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"},
		"half an hour's gap":             {"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00+10:30", "2026-10-04T02:30:00+11:00"},
		"midnight that is not":           {"@daily", "America/Sao_Paulo", "2018-11-03T12:00:00-03:00", "2018-11-04T01:00:00-02:00"},
		"day that is not":                {"30 2 30 12 *", "Pacific/Apia", "2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00"},
		"the text's own zone wins":       {"CRON_TZ=America/New_York 0 3 * * *", "Europe/Berlin", "2026-07-01T00:00:00Z", "2026-07-01T03:00:00-04:00"},
		"eight years to 29 February":     {"0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
		"year's end in a leap year":      {"30 2 * * *", "Europe/Berlin", "2096-12-30T12:00:00+01:00", "2096-12-31T02:30:00+01:00"},
		"each hour over that year's end": {"0 * * 1 *", "Europe/Berlin", "2096-12-31T12:00:00+01:00", "2097-01-01T00:00:00+01:00"},
		"every counts from the last":     {"@every 90m", "Europe/Berlin", "2026-03-29T01:30:00.5+01:00", "2026-03-29T04:00:00.5+02:00"},
		"before there were zones":        {"30 2 * * *", "Europe/Berlin", "0001-01-01T00:00:00Z", "0001-01-01T01:36:32Z"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := parse(t, test.text).For("", zone(t, test.zone)).Next(instant(t, test.after))
			if !got.Equal(instant(t, test.want)) {
				t.Errorf("next of %q after %s is %s, want %s", test.text, test.after, got.Format(time.RFC3339Nano), test.want)
			}
		})
	}
}

func TestTheZeroScheduleNeverFires(t *testing.T) {
	var none schedule.Spec
	s := none.For("key", time.UTC)
	now := instant(t, "2026-11-20T03:00:00Z")
	if next, due := s.Next(now), s.Due(time.Time{}, now); !next.IsZero() || !due.IsZero() {
		t.Errorf("next %s, due %s, want neither", next, due)
	}
}

func instant(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
