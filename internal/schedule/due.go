package schedule

import (
	"sort"
	"time"
)

// Due is when the next run is due, last being when the last one began (or was due), or when the schedule was first seen; the zero
// time is long ago. A run is due now when that is not after now. Runs that were missed are made up by one: a time in the past is
// the latest of them.
//
// A last that lies in the future means that the clock went back. By no more than the schedule's period, and this is taken as at
// least an hour and at most a day, it counts as usual: what ran does not run again. By more, last says nothing, and a run is due
// now: the one run too many that this costs is what sets last right.
func (s Schedule) Due(last, now time.Time) time.Time {
	last, now = last.Round(0), now.Round(0)
	next := s.Next(last)
	switch {
	case next.IsZero():
		return next
	case last.Sub(now) > s.tolerance(next):
		return now
	case next.After(now):
		return next
	default:
		return s.latest(next, now)
	}
}

func (s Schedule) tolerance(next time.Time) time.Duration {
	return min(max(s.Next(next).Sub(next), time.Hour), 24*time.Hour)
}

// latest is the latest time of the schedule up to now, first being one.
func (s Schedule) latest(first, now time.Time) time.Time {
	if s.every > 0 {
		return first.Add(now.Sub(first) / s.every * s.every)
	}
	// Times are whole seconds. The search is for the first of them after which nothing comes up to now.
	second := func(i int) time.Time { return time.Unix(first.Unix()+int64(i), 0).In(s.zone) }
	return second(sort.Search(int(now.Unix()-first.Unix()), func(i int) bool { return s.Next(second(i)).After(now) }))
}

// Retry is how long to wait before a run is tried again after this many failures in a row, and whether to try again at all before its
// next time. Each time of the schedule has three more tries, however long the streak is.
func Retry(failures int) (wait time.Duration, again bool) {
	waits := [...]time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute}
	if failures < 1 {
		return 0, false
	}
	try := (failures - 1) % (len(waits) + 1)
	if try == len(waits) {
		return 0, false
	}
	return waits[try], true
}
