package schedule

import "time"

// wall is what the clock on the wall shows at t in its zone, kept as a time in UTC, where every reading exists once.
func wall(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// reached is the first moment at which the clock of the zone shows the reading or a later one.
func reached(reading time.Time, zone *time.Location) time.Time {
	const farthest = 26 * time.Hour // no clock on earth is or was so far from UTC
	t := reading.Add(-farthest).In(zone)
	for {
		at, end := t.Add(reading.Sub(wall(t))), steadyUntil(t)
		switch {
		case at.Before(t):
			return t // the clock was set forward at t, past the reading
		case end.IsZero() || at.Before(end):
			return at
		}
		t = end
	}
}

// steadyUntil is a moment after t until which the clock of its zone is not set forward or back; zero when it never is again.
//
// It is needed for more than tidiness: after the last transition that is listed in the time zone's file, Time.ZoneBounds ends
// years after 365 days, so that on 31 December of a leap year the end lies before the beginning.
func steadyUntil(t time.Time) time.Time {
	_, end := t.ZoneBounds()
	if !end.IsZero() && !end.After(t) {
		return t.Add(time.Hour).Truncate(time.Hour)
	}
	return end
}
