package schedule

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/robfig/cron/v3"
)

const fieldCount = 6

// kind says what may stand in a field.
type kind struct {
	name     string
	min, max uint
	drawn    uint // the greatest value that H stands for
	words    string
	also     string // what the field takes besides numbers
}

// kinds of the fields in their order.
func kinds() [fieldCount]kind {
	return [...]kind{
		{name: "seconds", max: 59, drawn: 59},
		{name: "minute", max: 59, drawn: 59},
		{name: "hour", max: 23, drawn: 23},
		{name: "day of month", min: 1, max: 31, drawn: 28},
		{name: "month", min: 1, max: 12, drawn: 12, words: "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec", also: " or jan to dec"},
		{name: "day of week", max: 6, drawn: 6, words: "sun|mon|tue|wed|thu|fri|sat", also: " or sun to sat, 0 being Sunday"},
	}
}

// field is the values that a field names: those that are written, and those drawn by H.
type field struct {
	written uint64 // as robfig/cron has them
	drawn   span   // by H; its step is 0 when there is none
}

// span is where H draws from, low to high, and how far apart its values are: as far as the span is long where H is one value.
type span struct{ low, high, step uint }

// mask is the field's values once H is settled by a number drawn at random.
func (f field) mask(draw uint64) uint64 {
	mask := f.written
	s := f.drawn
	if s.step == 0 {
		return mask
	}
	choices := min(s.high-s.low+1, s.step)
	for v := s.low + uint(draw%uint64(choices)); v <= s.high; v += s.step {
		mask |= 1 << v
	}
	return mask
}

func parseField(i int, text string) (field, error) {
	var f field
	k := kinds()[i]
	for item := range strings.SplitSeq(text, ",") {
		if err := f.add(i, k, item); err != nil {
			return field{}, fmt.Errorf("%s field %q: %w (it takes %d to %d%s, *, ranges such as %[4]d-%[5]d, steps such as */2, lists of these with commas, and H)",
				k.name, text, err, k.min, k.max, k.also)
		}
	}
	return f, nil
}

func (f *field) add(i int, k kind, item string) error {
	if !strings.HasPrefix(item, "H") {
		written, err := parseWritten(i, k, item)
		f.written |= written
		return err
	}
	if f.drawn.step > 0 {
		return errors.New("more than one H")
	}
	var err error
	f.drawn, err = parseDraw(k, item)
	return err
}

// parseWritten leaves the values to robfig/cron, after having refused what that reads with more good will than sense: empty
// items, "*-garbage", signs, and steps that are longer than the field ("*/90" minutes would mean once an hour).
func parseWritten(i int, k kind, item string) (uint64, error) {
	value := `[0-9]{1,2}`
	if k.words != "" {
		value = `(?:` + value + `|(?i:` + k.words + `))`
	}
	grammar := regexp.MustCompile(`^(?:\*|\?|` + value + `(?:-` + value + `)?)(?:/([0-9]{1,4}))?$`)
	parts := grammar.FindStringSubmatch(item)
	if parts == nil {
		return 0, fmt.Errorf("%q is not understood", item)
	}
	if parts[1] != "" {
		if _, err := parseStep(parts[1], k.max-k.min); err != nil {
			return 0, err
		}
	}
	words := strings.Fields("* * * * * *")
	words[i] = item
	parser := cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
	parsed, err := parser.Parse(strings.Join(words, " "))
	if err != nil {
		return 0, err
	}
	s, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return 0, fmt.Errorf("read as %T, which is not a table of times", parsed)
	}
	return [...]uint64{s.Second, s.Minute, s.Hour, s.Dom, s.Month, s.Dow}[i], nil
}

func parseDraw(k kind, item string) (span, error) {
	grammar := regexp.MustCompile(`^H(?:\(([0-9]{1,2})-([0-9]{1,2})\))?(?:/([0-9]{1,4}))?$`)
	parts := grammar.FindStringSubmatch(item)
	if parts == nil {
		return span{}, fmt.Errorf("%q is not understood: want H, H(%d-%d), H/2 or H(%[2]d-%[3]d)/2", item, k.min, k.drawn)
	}
	s := span{low: k.min, high: k.drawn}
	var err error
	if parts[1] != "" {
		if s.low, s.high, err = parseRange(parts[1], parts[2]); err != nil {
			return span{}, err
		}
		if s.low < k.min || s.high > k.drawn || s.low > s.high {
			return span{}, fmt.Errorf("H(%s-%s) is no range within %d to %d", parts[1], parts[2], k.min, k.drawn)
		}
	}
	s.step = s.high - s.low + 1
	if parts[3] != "" {
		s.step, err = parseStep(parts[3], s.high-s.low)
	}
	return s, err
}

func parseRange(low, high string) (uint, uint, error) {
	l, err := strconv.ParseUint(low, 10, 8)
	if err != nil {
		return 0, 0, err
	}
	h, err := strconv.ParseUint(high, 10, 8)
	return uint(l), uint(h), err
}

func parseStep(text string, most uint) (uint, error) {
	step, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, err
	}
	if step == 0 || step > uint64(most) {
		return 0, fmt.Errorf("a step of %d never comes round: want 1 to %d, or @every for longer periods", step, most)
	}
	return uint(step), nil
}
