package schedule_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/backupd/backupd/internal/schedule"
)

func TestDue(t *testing.T) {
	const daily, hourly, sixHours = "0 3 * * *", "@hourly", "@every 6h"
	tests := map[string]struct{ text, last, now, want string }{
		"first seen, next time":               {daily, "2026-11-20T12:00:00Z", "2026-11-20T12:00:00Z", "2026-11-21T03:00:00Z"},
		"not yet":                             {daily, "2026-11-20T03:00:00Z", "2026-11-21T02:59:59Z", "2026-11-21T03:00:00Z"},
		"now":                                 {daily, "2026-11-20T03:00:00Z", "2026-11-21T03:00:00Z", "2026-11-21T03:00:00Z"},
		"late":                                {daily, "2026-11-20T03:00:01Z", "2026-11-21T03:00:02Z", "2026-11-21T03:00:00Z"},
		"missed once":                         {daily, "2026-11-20T03:00:00Z", "2026-11-21T20:00:00Z", "2026-11-21T03:00:00Z"},
		"missed often: the latest":            {daily, "2026-01-20T03:00:00Z", "2026-11-21T20:00:00Z", "2026-11-21T03:00:00Z"},
		"made up by hand":                     {daily, "2026-11-21T19:00:00Z", "2026-11-21T20:00:00Z", "2026-11-22T03:00:00Z"},
		"never ran":                           {daily, "0001-01-01T00:00:00Z", "2026-11-21T20:00:00Z", "2026-11-21T03:00:00Z"},
		"every: counts from the last":         {sixHours, "2026-11-20T12:34:56Z", "2026-11-20T13:00:00Z", "2026-11-20T18:34:56Z"},
		"every: missed often, the latest":     {sixHours, "2026-11-01T12:34:56Z", "2026-11-20T13:00:00Z", "2026-11-20T12:34:56Z"},
		"every: late":                         {sixHours, "2026-11-20T00:00:00Z", "2026-11-20T06:00:05Z", "2026-11-20T06:00:00Z"},
		"back by a second, just after":        {daily, "2026-11-20T03:00:00Z", "2026-11-20T02:59:59Z", "2026-11-21T03:00:00Z"},
		"back by half a day":                  {daily, "2026-11-20T03:00:00Z", "2026-11-19T15:00:00Z", "2026-11-21T03:00:00Z"},
		"back by more than the period":        {daily, "2026-11-20T03:00:00Z", "2026-11-19T02:59:59Z", "2026-11-19T02:59:59Z"},
		"back by years":                       {daily, "2031-11-20T03:00:00Z", "2026-11-20T12:00:00Z", "2026-11-20T12:00:00Z"},
		"weekly: back by a day":               {"@weekly", "2026-11-22T00:00:00Z", "2026-11-21T00:00:00Z", "2026-11-29T00:00:00Z"},
		"weekly: back by more than a day":     {"@weekly", "2026-11-22T00:00:00Z", "2026-11-20T23:00:00Z", "2026-11-20T23:00:00Z"},
		"each minute: back by half an hour":   {"* * * * *", "2026-11-20T12:00:00Z", "2026-11-20T11:30:00Z", "2026-11-20T12:01:00Z"},
		"each minute: back by over an hour":   {"* * * * *", "2026-11-20T12:00:00Z", "2026-11-20T10:59:00Z", "2026-11-20T10:59:00Z"},
		"every six hours: back by five":       {sixHours, "2026-11-20T12:00:00Z", "2026-11-20T07:00:00Z", "2026-11-20T18:00:00Z"},
		"forward by years: one run is due":    {hourly, "2026-11-20T12:00:00Z", "2031-11-20T12:30:00Z", "2031-11-20T12:00:00Z"},
		"and back again: the next sets it up": {hourly, "2031-11-20T12:30:00Z", "2026-11-20T12:05:00Z", "2026-11-20T12:05:00Z"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := parse(t, test.text).For("", time.UTC).Due(instant(t, test.last), instant(t, test.now))
			if !got.Equal(instant(t, test.want)) {
				t.Errorf("%q, last %s, now %s: due %s, want %s", test.text, test.last, test.now, got, test.want)
			}
		})
	}
}

// A daemon that looks every ten minutes, runs what is due and remembers when, by a clock that is set about now and then: it never
// runs twice for one time, there are no more runs than the schedule has but one for each time that the clock was set, and
// whatever last says, the wait is no longer than three periods: the one that was passing when the clock was set back, the one
// that last is believed to be ahead, and the one that then begins.
func TestAClockThatJumpsNeitherStarvesNorRepeats(t *testing.T) {
	type spec struct {
		text   string
		period time.Duration
	}
	specs := []spec{{"0 3 * * *", 24 * time.Hour}, {"@hourly", time.Hour}, {"*/10 * * * *", 10 * time.Minute}, {"@every 6h", 6 * time.Hour}}
	jumps := []time.Duration{time.Second, 7 * time.Minute, 59 * time.Minute, 5 * time.Hour, 26 * time.Hour, 400 * 24 * time.Hour}
	const look, between, length = 10 * time.Minute, 3*24*time.Hour + 7*time.Hour, 10 * 24 * time.Hour

	rapid.Check(t, func(t *rapid.T) {
		spec := rapid.SampledFrom(specs).Draw(t, "spec")
		parsed, err := schedule.Parse(spec.text)
		if err != nil {
			t.Fatal(err)
		}
		s := parsed.For("", time.UTC)
		rememberDue := rapid.Bool().Draw(t, "remembers when it was due, not when it began")
		began := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
		ran, last := began, began // by the true clock, and by the one that is set
		var wrong time.Duration
		var runs, set int
		for passed := look; passed <= length; passed += look {
			if passed%between == 0 {
				wrong += rapid.SampledFrom(jumps).Draw(t, "by") * time.Duration(rapid.SampledFrom([]int{-1, 1}).Draw(t, "direction"))
				set++
			}
			truth := began.Add(passed)
			now := truth.Add(wrong)
			due := s.Due(last, now)
			if due.After(now) {
				if wait := truth.Sub(ran); wait > 3*max(spec.period, time.Hour) {
					t.Fatalf("no run for %s at %s, clock wrong by %s, last %s, due %s", wait, truth, wrong, last, due)
				}
				continue
			}
			runs, ran, last = runs+1, truth, now
			if rememberDue {
				last = due
			}
			if again := s.Due(last, now); !again.After(now) {
				t.Fatalf("due at %s, and once it ran again at %s, by a clock that shows %s", due, again, now)
			}
		}
		if most := int(length/spec.period) + 1 + set; runs > most {
			t.Fatalf("%d runs with the clock set %d times, want at most %d", runs, set, most)
		}
	})
}

func TestEachTimeOfTheScheduleHasThreeMoreTries(t *testing.T) {
	const none = 0
	for i, want := range []time.Duration{
		none, time.Minute, 5 * time.Minute, 15 * time.Minute, none, time.Minute, 5 * time.Minute, 15 * time.Minute, none,
	} {
		wait, again := schedule.Retry(i)
		if wait != want || again != (want != none) {
			t.Errorf("after %d failures: %s, %t, want %s", i, wait, again, want)
		}
	}
}
