package suspicion_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/recognise"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/suspicion"
)

const mib = 1 << 20

// holds is the content of a volume, with databases of these kinds.
func holds(entries, bytes int64, kinds ...recognise.Kind) snapshot.Contents {
	c := snapshot.Contents{Entries: entries, Bytes: bytes}
	for _, kind := range kinds {
		c.Databases = append(c.Databases, recognise.Find{Kind: kind})
	}
	return c
}

// past makes a history, newest first, one for each day.
func past(contents ...snapshot.Contents) (history []snapshot.Manifest) {
	for i, c := range contents {
		taken := time.Date(2026, 11, 30-i, 3, 0, 0, 0, time.UTC)
		history = append(history, snapshot.Manifest{ID: snapshot.ID(taken.Format("20060102T150405Z") + "-00000000"), Taken: taken, Contents: c})
	}
	return history
}

// sizes makes a history of volumes with a hundred entries and so many MiB.
func sizes(newestFirst ...int64) []snapshot.Manifest {
	var all []snapshot.Contents
	for _, n := range newestFirst {
		all = append(all, holds(100, n*mib))
	}
	return past(all...)
}

func accepted(i int, history []snapshot.Manifest) []snapshot.Manifest {
	history[i].Accepted = "it has shrunk"
	return history
}

func TestVerdicts(t *testing.T) {
	const pg, sqlite = recognise.PostgreSQL, recognise.SQLite
	steady := sizes(1000, 1010, 990, 1000)
	for name, test := range map[string]struct {
		now     snapshot.Contents
		history []snapshot.Manifest
		suspect []string // words
		grown   bool
	}{
		"a first snapshot":              {now: holds(1, 0)},
		"the same again":                {now: holds(100, 1000*mib), history: steady},
		"empty":                         {now: holds(1, 0), history: steady, suspect: []string{"it is empty, and held 100 entries", "--allow-empty"}},
		"empty once more":               {now: holds(1, 0), history: past(holds(1, 0), holds(100, 1000*mib))},
		"a few kilobytes, then nothing": {now: holds(1, 0), history: past(holds(2, 10)), suspect: []string{"it is empty"}},

		"a little less than half of what never changes": {now: holds(100, 490*mib), history: steady, suspect: []string{"shrunk to 490 MiB from the usual 1000 MiB", "--accept"}},
		"a little more than half":                       {now: holds(100, 510*mib), history: steady},
		"less than half of the entries":                 {now: holds(400, 1000*mib), history: past(holds(1000, 1000*mib), holds(1000, 1000*mib), holds(1000, 1000*mib)), suspect: []string{"shrunk to 400 entries from the usual 1000"}},
		"both":                                          {now: holds(400, 100*mib), history: past(holds(1000, 1000*mib), holds(1000, 1000*mib), holds(1000, 1000*mib)), suspect: []string{"100 MiB", "; it has shrunk to 400 entries"}},
		"one odd snapshot in the history":               {now: holds(100, 400*mib), history: sizes(1000, 1000, 90000, 1000, 1000), suspect: []string{"shrunk"}},

		"a third, where a fifth up and down is usual":   {now: holds(100, 333*mib), history: sizes(1000, 1200, 833, 1200, 833, 1000, 1200)},
		"a quarter of that":                             {now: holds(100, 250*mib), history: sizes(1000, 1200, 833, 1200, 833, 1000, 1200), suspect: []string{"shrunk"}},
		"what goes wildly up and down":                  {now: holds(100, 60*mib), history: sizes(1000, 100, 3000, 200, 800, 70)},
		"as little as it was before":                    {now: holds(100, 300*mib), history: sizes(1000, 1000, 300, 1000, 1000)},
		"what grows by a tenth each day, and goes back": {now: holds(100, 1000*mib), history: sizes(1948, 1771, 1610, 1464, 1331, 1210, 1100, 1000)},
		"the same, when nearly all is gone":             {now: holds(100, 300*mib), history: sizes(1948, 1771, 1610, 1464, 1331, 1210, 1100, 1000), suspect: []string{"shrunk"}},

		"half, with a history of two":              {now: holds(100, 300*mib), history: sizes(1000, 1000)},
		"a twentieth, with a history of one":       {now: holds(100, 50*mib), history: sizes(1000), suspect: []string{"shrunk"}},
		"all of a small volume but a little":       {now: holds(3, 5_000), history: past(holds(9, 900_000), holds(9, 900_000), holds(9, 900_000))},
		"a megabyte and a bit, of which half goes": {now: holds(9, 600_000), history: past(holds(9, 1_300_000), holds(9, 1_300_000), holds(9, 1_300_000))},

		"its database is gone":                   {now: holds(100, mib), history: past(holds(100, mib, pg), holds(100, mib, pg), holds(100, mib, pg), holds(100, mib)), suspect: []string{"the postgresql database that it had in snapshot 20261130T"}},
		"its database is gone, after one":        {now: holds(100, mib), history: past(holds(100, mib, pg)), suspect: []string{"postgresql"}},
		"one of two kinds is gone":               {now: holds(100, mib, pg), history: past(holds(100, mib, pg, sqlite), holds(100, mib, pg, sqlite)), suspect: []string{"the sqlite database"}},
		"one of two of a kind":                   {now: holds(100, mib, pg), history: past(holds(100, mib, pg, pg))},
		"a database that comes and goes":         {now: holds(100, mib), history: past(holds(100, mib, sqlite), holds(100, mib), holds(100, mib, sqlite))},
		"one that was gone in the last snapshot": {now: holds(100, mib), history: past(holds(100, mib), holds(100, mib, sqlite), holds(100, mib, sqlite))},
		"another kind instead":                   {now: holds(100, mib, recognise.MySQL), history: past(holds(100, mib, recognise.MariaDB)), suspect: []string{"mariadb"}},

		"what was accepted is usual":               {now: holds(100, 100*mib), history: accepted(0, sizes(100, 1000, 1000, 1000))},
		"half of what was accepted":                {now: holds(100, 40*mib), history: accepted(2, sizes(100, 100, 100, 1000, 1000, 1000)), suspect: []string{"from the usual 100 MiB"}},
		"a database whose end was accepted":        {now: holds(100, mib), history: accepted(0, past(holds(100, mib), holds(100, mib, pg)))},
		"filled again after it was good and empty": {now: holds(100, 10*mib), history: past(holds(1, 0), holds(100, 1000*mib), holds(100, 1000*mib), holds(100, 1000*mib))},

		"ten times as much":                   {now: holds(100, 11_000*mib), history: steady, grown: true},
		"nine times as much":                  {now: holds(100, 9_000*mib), history: steady},
		"a hundred times of hardly any":       {now: holds(100, 99*mib), history: sizes(1, 1, 1)},
		"twenty times, with a history of one": {now: holds(100, 20_000*mib), history: sizes(1000)},
		"very many files":                     {now: holds(1_000_000, 1000*mib), history: steady, grown: true},
		"grown, and its database is gone":     {now: holds(100, 11_000*mib), history: past(holds(100, 1000*mib, pg), holds(100, 1000*mib, pg), holds(100, 1000*mib, pg)), grown: true, suspect: []string{"postgresql"}},
	} {
		t.Run(name, func(t *testing.T) {
			v := suspicion.Judge(test.now, test.history)
			if (v.Suspect != "") != (test.suspect != nil) || (v.Grown != "") != test.grown {
				t.Errorf("%+v, want suspect for %q, grown %v", v, test.suspect, test.grown)
			}
			for _, word := range test.suspect {
				if !strings.Contains(v.Suspect, word) {
					t.Errorf("%q does not say %q", v.Suspect, word)
				}
			}
			if v.Empty != strings.Contains(v.Suspect, "it is empty") {
				t.Errorf("%+v", v)
			}
		})
	}
}

// What is good goes into the history, so that no volume stays suspect by changing slowly, in either direction.
func TestSlowChangeIsNeverSuspect(t *testing.T) {
	for _, factor := range []float64{0.95, 1.05} {
		t.Run(fmt.Sprint(factor), func(t *testing.T) {
			var history []snapshot.Manifest
			for n := 1e12; n > 1e6 && n < 1e18; n *= factor {
				c := holds(int64(n/1e4), int64(n))
				if v := suspicion.Judge(c, history); v != (suspicion.Verdict{}) {
					t.Fatalf("%.0f bytes after %d snapshots: %+v", n, len(history), v)
				}
				history = append(past(c), history...)
			}
		})
	}
}
