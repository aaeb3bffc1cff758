// Package retention decides which snapshots of a volume stay, and why, and has the loop that removes the others.
//
// Deciding is pure. Which snapshots there are, and how one is removed, is left to package catalog.
package retention

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Policy says how many snapshots stay. Last counts snapshots; Hourly to Yearly count hours, days, ISO weeks, months and years that
// have any, and keep the newest of each; Within keeps all that are less than this older than the newest good one. A snapshot stays
// when any of these wants it. All keeps everything.
//
// The zero Policy is what no text gives: it keeps only what every policy keeps (see Decide).
type Policy struct {
	Last, Hourly, Daily, Weekly, Monthly, Yearly int
	Within                                       time.Duration
	All                                          bool
}

// MaxText is the longest text in bytes that is read as a policy.
const MaxText = 256

const all = "all"

// counts are the rules that count, in the order in which they are written.
func (p *Policy) counts() []struct {
	name  string
	value *int
} {
	return []struct {
		name  string
		value *int
	}{
		{"last", &p.Last}, {"hourly", &p.Hourly}, {"daily", &p.Daily}, {"weekly", &p.Weekly}, {"monthly", &p.Monthly}, {"yearly", &p.Yearly},
	}
}

// Parse reads a policy such as "last=3 daily=7 weekly=4 monthly=6 within=48h", or "all". Periods are in y (365 days), w, d, h
// and m (minutes), as in "30d" or "1d12h".
func Parse(text string) (Policy, error) {
	if len(text) > MaxText {
		return Policy{}, fmt.Errorf("retention policy of %d bytes is longer than %d", len(text), MaxText)
	}
	var p Policy
	if err := p.parse(strings.Fields(text)); err != nil {
		return Policy{}, fmt.Errorf("retention policy %q: %w", text, err)
	}
	return p, nil
}

func (p *Policy) parse(rules []string) error {
	seen := map[string]bool{}
	for _, rule := range rules {
		name, value, _ := strings.Cut(rule, "=")
		if seen[name] {
			return fmt.Errorf("%q stands there twice", name)
		}
		seen[name] = true
		if err := p.set(name, value, rule); err != nil {
			return err
		}
	}
	switch {
	case p.All && len(rules) > 1:
		return errors.New(`"all" keeps everything, so it stands alone`)
	case *p == Policy{}:
		return errors.New(`keeps nothing: want rules such as "last=3 daily=7 within=48h", or "all"`)
	}
	return nil
}

func (p *Policy) set(name, value, rule string) (err error) {
	if rule == all {
		p.All = true
		return nil
	}
	if name == "within" {
		if p.Within, err = ParsePeriod(value); err != nil {
			return fmt.Errorf(`%q: %w ("all" alone keeps everything)`, rule, err)
		}
		return nil
	}
	names := []string{}
	for _, c := range p.counts() {
		if c.name == name {
			*c.value, err = parseCount(rule, value)
			return err
		}
		names = append(names, c.name+"=")
	}
	return fmt.Errorf(`unknown rule %q: want some of %s within=, or "all" alone`, rule, strings.Join(names, " "))
}

func parseCount(rule, value string) (int, error) {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return 0, fmt.Errorf(`%q: want a whole number, 0 or more ("all" alone keeps everything)`, rule)
	}
	return int(n), nil
}

const day = 24 * time.Hour

// maxPeriod is well within what a time.Duration can hold, and longer than anything is kept.
const maxPeriod = 200 * 365 * day

// ParsePeriod reads a period such as 48h, 30d, 6w, 1y or 1d12h. Its days have 24 hours, and its years 365 days.
func ParsePeriod(text string) (time.Duration, error) {
	units := map[byte]time.Duration{'y': 365 * day, 'w': 7 * day, 'd': day, 'h': time.Hour, 'm': time.Minute}
	if !regexp.MustCompile(`^(?:[0-9]{1,9}[ywdhm])+$`).MatchString(text) {
		return 0, errors.New("want a period such as 48h, 30d, 6w or 1y (m is minutes)")
	}
	var period time.Duration
	for _, part := range regexp.MustCompile(`[0-9]+[ywdhm]`).FindAllString(text, -1) {
		n, err := strconv.ParseInt(part[:len(part)-1], 10, 64)
		if err != nil {
			return 0, err
		}
		unit := units[part[len(part)-1]]
		if time.Duration(n) > (maxPeriod-period)/unit {
			return 0, errors.New("it is longer than 200y")
		}
		period += time.Duration(n) * unit
	}
	return period, nil
}

// String is the policy as Parse reads it, without rules that keep nothing.
func (p Policy) String() string {
	if p.All {
		return all
	}
	var rules []string
	for _, c := range p.counts() {
		if *c.value > 0 {
			rules = append(rules, fmt.Sprintf("%s=%d", c.name, *c.value))
		}
	}
	if p.Within > 0 {
		rules = append(rules, "within="+FormatPeriod(p.Within))
	}
	return strings.Join(rules, " ")
}

// formatPeriod writes whole minutes, in the largest unit that says them exactly: 48h is 2d, and 36h stays 36h.
// FormatPeriod gives a period of whole minutes as ParsePeriod reads it.
func FormatPeriod(period time.Duration) string {
	switch {
	case period%day == 0:
		return fmt.Sprintf("%dd", period/day)
	case period%time.Hour == 0:
		return fmt.Sprintf("%dh", period/time.Hour)
	default:
		return fmt.Sprintf("%dm", period/time.Minute)
	}
}

// MarshalText gives what UnmarshalText reads.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is Parse; on an error p is left as it was.
func (p *Policy) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err == nil {
		*p = parsed
	}
	return err
}
