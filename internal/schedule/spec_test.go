package schedule_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/schedule"
)

func TestTextsThatAreNoSchedule(t *testing.T) {
	tests := []struct {
		text string
		want string // in the error
	}{
		{"", "is empty"},
		{" \n\t", "is empty"},
		{"CRON_TZ=UTC", "is empty"},
		{"* * * *", "has 4 fields"},
		{"* * * * * * *", "has 7 fields"},
		{"60 * * * *", `minute field "60"`},
		{"60 * * * * *", `seconds field "60"`},
		{"0 24 * * *", "it takes 0 to 23, *, ranges such as 0-23"},
		{"0 0 0 * *", `day of month field "0"`},
		{"0 0 * 13 *", "it takes 1 to 12 or jan to dec"},
		{"0 0 * janu *", `month field "janu"`},
		{"0 0 * * 7", "0 being Sunday"},
		{"0 0 * * fri-mon", "beyond end of range"},
		{"1,,2 * * * *", `"" is not understood`},
		{", * * * *", `minute field ","`},
		{"*-5 * * * *", `"*-5" is not understood`},
		{"+5 * * * *", `"+5" is not understood`},
		{"-5 * * * *", `"-5" is not understood`},
		{"1-2-3 * * * *", `"1-2-3" is not understood`},
		{"*/0 * * * *", "a step of 0 never comes round"},
		{"*/90 * * * *", "a step of 90 never comes round: want 1 to 59, or @every"},
		{"0 H/24 * * *", "a step of 24 never comes round"},
		{"H(10-70) * * * *", "H(10-70) is no range within 0 to 59"},
		{"H(9-3) * * * *", "H(9-3) is no range"},
		{"H(3) * * * *", `"H(3)" is not understood`},
		{"H,H * * * *", "more than one H"},
		{"h * * * *", `"h" is not understood`},
		{"0 0 H(1-31) * *", "H(1-31) is no range within 1 to 28"},
		{"0 0 30 2 *", "can never fire"},
		{"0 0 31 2,4,6,9,11 *", "can never fire"},
		{"0 0 31 H *", "can never fire"},
		{"@often", `unknown name "@often"`},
		{"@reboot", "want @hourly, @daily"},
		{"@daily 3", `"3" is too much`},
		{"@every", "takes one duration"},
		{"@every 1 h", "takes one duration"},
		{"@every 7d", "want hours, minutes and seconds"},
		{"@every 999ms", "at least one second"},
		{"@every -1h", "at least one second"},
		{"TZ= * * * * *", "names no time zone"},
		{"CRON_TZ=Local * * * * *", "names no time zone"},
		{"CRON_TZ=Europe/Berln @daily", `time zone "Europe/Berln"`},
		{"CRON_TZ=../../etc/passwd @daily", `time zone "../../etc/passwd"`},
		{"CRON_TZ=UTC CRON_TZ=UTC @daily", "has 2 fields"},
		{strings.Repeat("1,", 200) + "1 * * * *", "longer than 256"},
	}
	for _, test := range tests {
		s, err := schedule.Parse(test.text)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want an error with %q", test.text, err, test.want)
		}
		if s != (schedule.Spec{}) {
			t.Errorf("%q: an error, and %q besides", test.text, s)
		}
	}
}

func TestTextsOfTheSameSchedule(t *testing.T) {
	tests := [][]string{
		{"@daily", "@midnight", "0 0 * * *", "0 0 0 * * *", " 0\t0 * * ? ", "0 0 */1 * *"},
		{"@hourly", "0 * * * *", "0 0-23 * * *", "0 H/1 * * *"},
		{"@weekly", "0 0 * * sun", "0 0 * * SUN", "0 0 * * 0"},
		{"@monthly", "0 0 1 * *", "0 0 1 jan-dec *"},
		{"@yearly", "@annually", "0 0 1 Jan *", "0 0 H(1-1) H(1-1) *"},
		{"@every 90m", "@every 1h30m"},
		{"CRON_TZ=UTC @daily", "TZ=UTC 0 0 * * *"},
		{"10-59/20 * * * *", "10,30,50 * * * *", "H(10-10),30,50 * * * *"},
	}
	for _, texts := range tests {
		want := times(parse(t, texts[0]))
		for _, text := range texts[1:] {
			if got := times(parse(t, text)); got != want {
				t.Errorf("%q gives %s, and %q gives %s", texts[0], want, text, got)
			}
		}
	}
}

// times tells schedules apart by their first runs.
func times(s schedule.Spec) string {
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	bound := s.For("host/db", at.Location())
	var all []string
	for range 40 {
		at = bound.Next(at)
		all = append(all, at.UTC().Format(time.RFC3339))
	}
	return strings.Join(all, " ")
}

func TestTextGoesRound(t *testing.T) {
	const want = "CRON_TZ=Europe/Berlin H(0-29)/10 2 * * mon-fri"
	var s, again schedule.Spec
	if err := s.UnmarshalText([]byte(" CRON_TZ=Europe/Berlin  H(0-29)/10 2 *\n* mon-fri ")); err != nil {
		t.Fatal(err)
	}
	text, err := s.MarshalText()
	if err != nil || string(text) != want || s.String() != want {
		t.Fatalf("%q and %q (%v), want %q", text, s, err, want)
	}
	if err := again.UnmarshalText(text); err != nil || times(again) != times(s) {
		t.Errorf("%q read again: %v, %s", text, err, times(again))
	}
	if err := again.UnmarshalText([]byte("nonsense")); err == nil || again.String() != want {
		t.Errorf("a bad text: %v, and leaves %q, want it to leave %q", err, again, want)
	}
}

// These are what installed hosts do: if this fails, all backups move to other times.
func TestHIsForEver(t *testing.T) {
	from := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	tests := []struct{ text, key, want string }{
		{"H H * * *", "nas/db", "2026-11-20T23:57:00"},
		{"H H * * *", "nas/db2", "2026-11-20T17:10:00"},
		{"H * * * *", "nas/db", "2026-11-20T00:57:00"},
		{"H/15 * * * *", "nas/db", "2026-11-20T00:12:00"},
		{"H H(1-5) H * *", "nas/db", "2026-12-14T02:57:00"},
		{"H H H * * H", "nas/db", "2026-11-25T23:57:00"},
		{"H H H * * H", "nas/db2", "2026-11-23T17:10:46"},
		{"H H * * H", "", "2026-11-20T06:40:00"},
	}
	for _, test := range tests {
		got := parse(t, test.text).For(test.key, time.UTC).Next(from).Format("2006-01-02T15:04:05")
		if got != test.want {
			t.Errorf("{%q, %q, %q}, want %q", test.text, test.key, got, test.want)
		}
	}
}

func TestHSpreadsVolumes(t *testing.T) {
	const volumes = 6000
	spec, from := parse(t, "H H(0-3) * * *"), time.Date(2026, 11, 20, 0, 0, 0, -1, time.UTC)
	minutes, hours := map[int]int{}, map[int]int{}
	for i := range volumes {
		at := spec.For(fmt.Sprintf("host/volume%d", i), time.UTC).Next(from)
		minutes[at.Minute()]++
		hours[at.Hour()]++
	}
	for m := range 60 {
		if n := minutes[m]; n < volumes/60/2 || n > volumes/60*2 {
			t.Errorf("%d of %d volumes in minute %d", n, volumes, m)
		}
	}
	for h := range 4 {
		if n := hours[h]; n < volumes/5 || n > volumes/3 {
			t.Errorf("%d of %d volumes in hour %d", n, volumes, h)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"30 2 * * *", "@daily", "@every 90m", "CRON_TZ=Europe/Berlin H(0-29)/10 2 29 feb mon-fri", "*/15 0-6,8-23/2 ? * 1,3",
		"TZ=", "H/H", "5-", "0 0 31 H *", "@every 9999999h", "0 0 0 29 2 *", "CRON_TZ=America/Sao_Paulo * * 0 * * *",
	} {
		f.Add(seed, "host/db")
	}
	f.Fuzz(func(t *testing.T, text, key string) {
		from := time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
		spec, err := schedule.Parse(text)
		if err != nil {
			return
		}
		again, err := schedule.Parse(spec.String())
		if err != nil || again.String() != spec.String() {
			t.Fatalf("%q is written %q, which reads as %q: %v", text, spec, again, err)
		}
		one, other := spec.For(key, time.UTC), again.For(key, time.UTC)
		for run := range 20 {
			next := one.Next(from)
			if !next.After(from) || !next.Equal(other.Next(from)) {
				t.Fatalf("run %d of %q: after %s comes %s, or %s when read again", run, text, from, next, other.Next(from))
			}
			from = next
		}
	})
}
