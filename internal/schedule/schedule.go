package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule is a Spec that is tied to what it is for. The zero Schedule never fires.
//
// Cron text is about what clocks on the wall show, and those jump twice a year. Two rules, by the hours that are named:
//
//   - Every hour ("@hourly", "*/15 * * * *"): whenever the clock shows such a time. So the runs go on at their pace, through the
//     hour that autumn repeats, and without making up for times that spring leaves out.
//   - Some hours ("30 2 * * *", "0 */6 * * *"): at the first moment at which the clock has reached such a time. So each time has
//     its run exactly once: not again in the hour that autumn repeats, and just after the gap where spring leaves it out.
type Schedule struct {
	every   time.Duration // counts when it is not 0
	crontab cron.SpecSchedule
	zone    *time.Location
}

// For ties the schedule to a key, host and volume, which settles what H stands for, and to the clock of zone unless the text
// itself names one.
func (s Spec) For(key string, zone *time.Location) Schedule {
	if s.zone != nil {
		zone = s.zone
	}
	if s.text == "" || s.every > 0 {
		return Schedule{every: s.every, zone: zone}
	}
	return Schedule{zone: zone, crontab: s.crontab(func(field int) uint64 { return draw(field, key) })}
}

// draw must never change: it decides when volumes are backed up, on every host.
func draw(field int, key string) uint64 {
	sum := sha256.Sum256([]byte(kinds()[field].name + "\n" + key))
	return binary.BigEndian.Uint64(sum[:])
}

// Next is the first time strictly after the given one, and the zero time when there is none.
func (s Schedule) Next(after time.Time) time.Time {
	after = after.Round(0) // what counts is the clock on the wall, not the monotonic one
	switch {
	case s.every > 0:
		return after.Add(s.every)
	case s.crontab.Second == 0:
		return time.Time{}
	case s.everyHour():
		return s.nextShown(after.In(s.zone))
	default:
		return s.nextReached(after.In(s.zone))
	}
}

func (s Schedule) everyHour() bool {
	const all = 1<<24 - 1
	return s.crontab.Hour&all == all
}

// nextShown is the first moment after the given one at which the clock shows a time of the table.
func (s Schedule) nextShown(after time.Time) time.Time {
	from := wall(after)
	for {
		reading := s.nextReading(from)
		if reading.IsZero() {
			return reading
		}
		at, end := after.Add(reading.Sub(wall(after))), steadyUntil(after)
		if end.IsZero() || at.Before(end) {
			return at
		}
		after, from = end, wall(end).Add(-1) // end itself may be such a moment
	}
}

// nextReached is the first moment after the given one at which the clock has come to a time of the table, or has jumped over it.
func (s Schedule) nextReached(after time.Time) time.Time {
	reading := wall(after)
	for {
		reading = s.nextReading(reading)
		if reading.IsZero() {
			return reading
		}
		if at := reached(reading, s.zone); at.After(after) {
			return at
		}
	}
}

// nextReading is the next time of the table, and zero when there is none. Cron looks five years ahead; 29 February can be eight
// years away.
func (s Schedule) nextReading(after time.Time) time.Time {
	next := s.crontab.Next(after)
	if next.IsZero() {
		next = s.crontab.Next(after.AddDate(5, 0, 0))
	}
	return next
}
