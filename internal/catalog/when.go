package catalog

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/snapshot"
)

// When says which snapshot of a volume is meant: the newest good one, the one with an id, or the newest good one not after a moment.
type When struct {
	text string
	id   string    // or its beginning
	at   time.Time // zero for no bound
}

// layouts are the forms of a moment, each with how long a time it names, since "2026-11-20" means that whole day.
var layouts = []struct {
	layout string
	spans  time.Duration
}{
	{time.RFC3339, time.Second},
	{"2006-01-02T15:04:05", time.Second},
	{"2006-01-02 15:04:05", time.Second},
	{"2006-01-02T15:04", time.Minute},
	{"2006-01-02 15:04", time.Minute},
}

// ParseWhen reads "latest" (or nothing), a snapshot id or the beginning of one, a moment in loc ("2026-11-20T14:00"), a day ("2026-11-20",
// "yesterday": to its end), or an age ("2h", "3d").
func ParseWhen(text string, now time.Time, loc *time.Location) (When, error) {
	w := When{text: text}
	endOfDay := func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, -1, loc) }
	switch {
	case text == "" || text == "latest":
		return When{text: "latest"}, nil
	case text == "yesterday":
		w.at = endOfDay(now.In(loc).AddDate(0, 0, -1))
		return w, nil
	}
	for _, l := range layouts {
		if t, err := time.ParseInLocation(l.layout, text, loc); err == nil {
			w.at = t.Add(l.spans - 1)
			return w, nil
		}
	}
	if t, err := time.ParseInLocation(time.DateOnly, text, loc); err == nil {
		w.at = endOfDay(t)
		return w, nil
	}
	if age, ok := parseAge(text); ok {
		w.at = now.Add(-age)
		return w, nil
	}
	if isIDPrefix(text) {
		w.id = text
		return w, nil
	}
	return When{}, fmt.Errorf("%q is neither latest, a snapshot id, a moment (2026-11-20T14:00), a day (2026-11-20, yesterday) nor an age (2h, 3d)", text)
}

func parseAge(text string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		hours, err := time.ParseDuration(days + "h")
		return 24 * hours, err == nil && hours >= 0 && hours < math.MaxInt64/24
	}
	age, err := time.ParseDuration(text)
	return age, err == nil && age >= 0
}

// isIDPrefix tells whether an id could begin so. A year at least keeps ages and typing errors apart from ids.
func isIDPrefix(text string) bool {
	const pattern = "20000101T000000Z-00000000"
	if len(text) < 4 || len(text) > len(pattern) {
		return false
	}
	for i := range len(text) {
		c, digit := text[i], '0' <= text[i] && text[i] <= '9'
		switch {
		case pattern[i] == '0' || pattern[i] == '1' || pattern[i] == '2':
			if hex := 'a' <= c && c <= 'f' && i > 16; !digit && !hex {
				return false
			}
		case c != pattern[i]:
			return false
		}
	}
	return true
}

// Named tells whether one snapshot is meant by its id.
func (w When) Named() bool { return w.id != "" }

// Admits tells whether a snapshot counts and is not after the moment.
func (w When) Admits(s Snapshot) bool {
	return s.Good() && (w.at.IsZero() || !s.Taken.After(w.at))
}

// Pick chooses from the snapshots of one volume, in any order.
func (w When) Pick(snapshots []Snapshot) (Snapshot, error) {
	if w.id != "" {
		return Find(snapshots, w.id)
	}
	var best *Snapshot
	for i, s := range snapshots {
		if !w.Admits(s) {
			continue
		}
		if best == nil || s.Taken.After(best.Taken) {
			best = &snapshots[i]
		}
	}
	switch {
	case best != nil:
		return *best, nil
	case len(snapshots) == 0:
		return Snapshot{}, fmt.Errorf("there is no snapshot")
	case w.at.IsZero() && slices.ContainsFunc(snapshots, func(s Snapshot) bool { return s.Proof.Damaged != "" }):
		return Snapshot{}, fmt.Errorf("none of the %d snapshots is good, as verifying found that the %w: name one by its id to use it all the same",
			len(snapshots), archive.ErrDamaged)
	case w.at.IsZero():
		return Snapshot{}, fmt.Errorf("none of the %d snapshots is good: name one by its id to use it all the same", len(snapshots))
	default:
		return Snapshot{}, fmt.Errorf("no good snapshot is as old as %s (%s)", w.text, w.at.Format(time.RFC3339))
	}
}

// Find gives the one snapshot whose id begins with prefix. The same snapshot on several targets counts as one: the first that is
// good, if any is.
func Find(snapshots []Snapshot, prefix string) (Snapshot, error) {
	var found *Snapshot
	for i, s := range snapshots {
		switch {
		case !strings.HasPrefix(string(s.ID), prefix):
		case found == nil || found.Ref() == s.Ref() && !found.Good() && s.Good():
			found = &snapshots[i]
		case found.Ref() != s.Ref():
			return Snapshot{}, ambiguous(prefix, found.Ref(), s.Ref())
		}
	}
	if found == nil {
		return Snapshot{}, fmt.Errorf("no snapshot has an id that begins with %q", prefix)
	}
	return *found, nil
}

// ambiguous says which two are meant, and what tells them apart.
func ambiguous(prefix string, a, b snapshot.Ref) error {
	more, of := "give more of the id", func(r snapshot.Ref) string { return fmt.Sprintf("%s of volume %q", r.ID, r.Volume) }
	if a.Host != b.Host {
		of = func(r snapshot.Ref) string { return fmt.Sprintf("%s of volume %q on host %q", r.ID, r.Volume, r.Host) }
	}
	switch {
	case a.ID != b.ID:
	case a.Host != b.Host:
		more = "name the host"
	default:
		more = "they have one id, and only \"restore VOLUME@ID\" tells them apart"
	}
	return fmt.Errorf("%q could be %s or %s: %s", prefix, of(a), of(b), more)
}
