package retention_test

import (
	"strings"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/retention"
)

const day = 24 * time.Hour

func TestPolicyTexts(t *testing.T) {
	tests := []struct {
		text    string
		want    retention.Policy
		written string
	}{
		{"all", retention.Policy{All: true}, "all"},
		{"last=1", retention.Policy{Last: 1}, "last=1"},
		{" yearly=1\n\tlast=2 ", retention.Policy{Last: 2, Yearly: 1}, "last=2 yearly=1"},
		{"last=3 daily=7 weekly=4 monthly=6", retention.Policy{Last: 3, Daily: 7, Weekly: 4, Monthly: 6}, "last=3 daily=7 weekly=4 monthly=6"},
		{"hourly=24 within=48h", retention.Policy{Hourly: 24, Within: 2 * day}, "hourly=24 within=2d"},
		{"last=0 daily=2", retention.Policy{Daily: 2}, "daily=2"},
		{"within=1y2w3d4h5m", retention.Policy{Within: (365+14+3)*day + 4*time.Hour + 5*time.Minute}, "within=550325m"},
		{"within=36h", retention.Policy{Within: 36 * time.Hour}, "within=36h"},
		{"within=90m", retention.Policy{Within: 90 * time.Minute}, "within=90m"},
		{"last=2147483647 within=200y", retention.Policy{Last: 1<<31 - 1, Within: 200 * 365 * day}, "last=2147483647 within=73000d"},
	}
	for _, test := range tests {
		got, err := retention.Parse(test.text)
		if err != nil || got != test.want || got.String() != test.written {
			t.Errorf("%q: %+v, written %q (%v), want %+v, written %q", test.text, got, got, err, test.want, test.written)
		}
	}
}

func TestTextsThatAreNoPolicy(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", "keeps nothing"},
		{" \n", "keeps nothing"},
		{"last=0", "keeps nothing"},
		{"last=0 within=0h", "keeps nothing"},
		{"dayly=7", `unknown rule "dayly=7": want some of last= hourly= daily= weekly= monthly= yearly= within=, or "all"`},
		{"last=3,daily=7", `"last=3,daily=7": want a whole number`},
		{"=3", "unknown rule"},
		{"Last=3", "unknown rule"},
		{"last", `"last": want a whole number`},
		{"last=", `"last=": want a whole number`},
		{"last=-1", "0 or more"},
		{"last=+1", "0 or more"},
		{"last=1.5", "0 or more"},
		{"last=99999999999", "0 or more"},
		{"last=1 last=2", `"last" stands there twice`},
		{"within=1d last=2 within=2d", `"within" stands there twice`},
		{"all last=3", "stands alone"},
		{"last=0 all", "stands alone"},
		{"all all", "stands there twice"},
		{"all=yes", "unknown rule"},
		{"within", "want a period"},
		{"within=48", "want a period such as 48h"},
		{"within=-1d", "want a period"},
		{"within=1.5d", "want a period"},
		{"within=3months", "want a period"},
		{"within=201y", "longer than 200y"},
		{"within=999999999y999999999y", "longer than 200y"},
		{strings.Repeat("last=1 ", 100), "longer than 256"},
	}
	for _, test := range tests {
		p, err := retention.Parse(test.text)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want an error with %q", test.text, err, test.want)
		}
		if p != (retention.Policy{}) {
			t.Errorf("%q: an error, and %+v besides", test.text, p)
		}
	}
}

func TestABadTextLeavesThePolicyAlone(t *testing.T) {
	p := retention.Policy{Last: 3}
	if err := p.UnmarshalText([]byte("daily=7 nonsense")); err == nil || p != (retention.Policy{Last: 3}) {
		t.Errorf("%v, and the policy is %q", err, p)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"all", "last=3 daily=7 weekly=4 monthly=6 within=48h", "within=1y2w3d4h5m", "hourly=0 yearly=1", "last=-1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := retention.Parse(text)
		if err != nil {
			return
		}
		if p == (retention.Policy{}) {
			t.Fatalf("%q is taken, and keeps nothing", text)
		}
		written, err := p.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var again retention.Policy
		if err := again.UnmarshalText(written); err != nil || again != p {
			t.Fatalf("%q is %+v, written %q, which is %+v (%v)", text, p, written, again, err)
		}
	})
}
