// Package schedule turns the text of a schedule into the times at which something is due, whatever daylight saving, downtime and
// a jumping clock do meanwhile, and has the one loop that sleeps until then.
//
// It is the only door to robfig/cron, and knows nothing of what runs: remembering when a volume last ran, and keeping two runs
// apart, is left to its users.
package schedule

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Spec is a schedule as it was written, not yet tied to what it is for. The zero Spec never fires.
//
// The text is five cron fields (minute, hour, day of month, month, day of week), or six with seconds first; or one of @hourly,
// @daily, @midnight, @weekly, @monthly, @yearly, @annually; or "@every 90m". CRON_TZ=Europe/Berlin (or TZ=) in front says whose
// clock is meant. H in a field stands for one value out of the field's range, the same for ever for the same volume and spread
// evenly over volumes: H, H(0-29), H/15, H(8-18)/2. Days of the month go to 28 with H, so that every month has the day.
type Spec struct {
	text   string
	zone   *time.Location // nil when the text names none
	every  time.Duration  // of @every; the fields count when it is 0
	fields [fieldCount]field
}

// MaxText is the longest text in bytes that is read as a schedule.
const MaxText = 256

// Parse reads a schedule. Errors name the field that is wrong and what it takes.
func Parse(text string) (Spec, error) {
	if len(text) > MaxText {
		return Spec{}, fmt.Errorf("schedule of %d bytes is longer than %d", len(text), MaxText)
	}
	words := strings.Fields(text)
	s := Spec{text: strings.Join(words, " ")}
	if err := s.parse(words); err != nil {
		return Spec{}, fmt.Errorf("schedule %q: %w", text, err)
	}
	return s, nil
}

// ParseOptional reads a schedule, or a word for never, which the zero Spec is.
func ParseOptional(text string) (Spec, error) {
	if word := strings.TrimSpace(text); word == "never" || word == "off" {
		return Spec{}, nil
	}
	return Parse(text)
}

func (s *Spec) parse(words []string) (err error) {
	if words, err = s.parseZone(words); err != nil {
		return err
	}
	switch {
	case len(words) == 0:
		return fmt.Errorf(`is empty: want five or six fields such as "30 2 * * *", @daily, or "@every 6h"`)
	case words[0] == "@every":
		return s.parseEvery(words[1:])
	case strings.HasPrefix(words[0], "@"):
		return s.parseNamed(words)
	case len(words) == fieldCount-1:
		return s.parseFields(append([]string{"0"}, words...))
	case len(words) == fieldCount:
		return s.parseFields(words)
	default:
		return fmt.Errorf("has %d fields: want five (minute, hour, day of month, month, day of week), or six with seconds first", len(words))
	}
}

func (s *Spec) parseZone(words []string) ([]string, error) {
	if len(words) == 0 {
		return nil, nil
	}
	name, found := strings.CutPrefix(strings.TrimPrefix(words[0], "CRON_"), "TZ=")
	if !found {
		return words, nil
	}
	// The empty name would be UTC to time.LoadLocation, and "Local" whatever the process happens to have.
	if name == "" || name == "Local" {
		return nil, fmt.Errorf("%s names no time zone: want one such as CRON_TZ=Europe/Berlin", words[0])
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("time zone %q (want one such as Europe/Berlin, or UTC): %w", name, err)
	}
	s.zone = zone
	return words[1:], nil
}

func (s *Spec) parseEvery(words []string) error {
	if len(words) != 1 {
		return fmt.Errorf(`@every takes one duration, such as "@every 90m"`)
	}
	every, err := time.ParseDuration(words[0])
	if err != nil {
		return fmt.Errorf(`@every %q: want hours, minutes and seconds such as "1h30m": %w`, words[0], err)
	}
	if every < time.Second {
		return fmt.Errorf("@every %s: want at least one second", words[0])
	}
	s.every = every
	return nil
}

func (s *Spec) parseNamed(words []string) error {
	var fields string
	switch words[0] {
	case "@hourly":
		fields = "0 0 * * * *"
	case "@daily", "@midnight":
		fields = "0 0 0 * * *"
	case "@weekly":
		fields = "0 0 0 * * 0"
	case "@monthly":
		fields = "0 0 0 1 * *"
	case "@yearly", "@annually":
		fields = "0 0 0 1 1 *"
	default:
		return fmt.Errorf("unknown name %q: want @hourly, @daily, @weekly, @monthly, @yearly, or @every with a duration", words[0])
	}
	if len(words) > 1 {
		return fmt.Errorf("%q is too much: %s stands alone", words[1], words[0])
	}
	return s.parseFields(strings.Fields(fields))
}

func (s *Spec) parseFields(words []string) (err error) {
	for i, word := range words {
		if s.fields[i], err = parseField(i, word); err != nil {
			return err
		}
	}
	return s.mustFire()
}

// mustFire refuses what names days that do not exist, such as 30 February, and what would for some keys. Only a month that is
// drawn can do that, as a drawn day is in every month.
func (s *Spec) mustFire() error {
	for draw := range uint64(12) {
		crontab := s.crontab(func(int) uint64 { return draw })
		if crontab.Next(time.Date(2000, 1, 1, 0, 0, 0, -1, time.UTC)).IsZero() {
			return fmt.Errorf("can never fire: no such day of the month in the months it names")
		}
	}
	return nil
}

// crontab gives the times as robfig/cron has them, each H being settled by a number drawn for its field. They are in UTC: what a
// local clock shows is looked up in them as if it were UTC (see Schedule).
func (s *Spec) crontab(draw func(field int) uint64) cron.SpecSchedule {
	var mask [fieldCount]uint64
	for i, f := range s.fields {
		mask[i] = f.mask(draw(i))
	}
	return cron.SpecSchedule{
		Second: mask[0], Minute: mask[1], Hour: mask[2], Dom: mask[3], Month: mask[4], Dow: mask[5], Location: time.UTC,
	}
}

// String is the text of the schedule, with single spaces.
func (s Spec) String() string { return s.text }

// MarshalText gives what UnmarshalText reads.
func (s Spec) MarshalText() ([]byte, error) { return []byte(s.text), nil }

// UnmarshalText is Parse; on an error s is left as it was.
func (s *Spec) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err == nil {
		*s = parsed
	}
	return err
}
