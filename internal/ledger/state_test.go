package ledger

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// ran remembers a run that took a day.
func ran(s *State, began time.Time, failure error, stored bool) {
	s.Began("v", began)
	s.Ended("v", began.AddDate(0, 0, 1), failure, stored)
}

func TestRunsAreRemembered(t *testing.T) {
	bad := errors.New("no luck")
	tests := map[string]struct {
		do   func(s *State)
		want Volume
	}{
		"only the first sight counts": {
			do:   func(s *State) { s.Seen("v", day(1)); s.Seen("v", day(2)) },
			want: Volume{FirstSeen: day(1)},
		},
		"a run that never ended is a failure": {
			do:   func(s *State) { s.Began("v", day(1)) },
			want: Volume{LastRun: day(1), LastError: "the run did not come to its end", Failures: 1},
		},
		"what a target misses counts from the first time": {
			do: func(s *State) {
				s.Misses("v", day(1), []string{"far"})
				s.Misses("v", day(2), []string{"far", "third"})
			},
			want: Volume{Missed: map[string]time.Time{"far": day(1), "third": day(2)}},
		},
		"goes at filling are counted": {
			do: func(s *State) {
				s.Misses("v", day(1), []string{"far"})
				s.Fills("v", s.Volumes["v"].Missed, 2, day(3))
			},
			want: Volume{Missed: map[string]time.Time{"far": day(1)}, Fills: 2, NextFill: day(3)},
		},
		"what is filled leaves no trace": {
			do: func(s *State) {
				s.Misses("v", day(1), []string{"far"})
				s.Fills("v", nil, 2, day(3))
			},
			want: Volume{},
		},
		"a good run ends the failures": {
			do:   func(s *State) { ran(s, day(1), bad, false); ran(s, day(2), nil, true) },
			want: Volume{LastRun: day(2), LastEnd: day(3), LastSuccess: day(3)},
		},
		"failures are counted once each": {
			do:   func(s *State) { ran(s, day(1), bad, false); ran(s, day(2), bad, false) },
			want: Volume{LastRun: day(2), LastEnd: day(3), LastError: "no luck", Failures: 2},
		},
		"a run that failed at one target is a success with an error": {
			do:   func(s *State) { ran(s, day(1), bad, true) },
			want: Volume{LastRun: day(1), LastEnd: day(2), LastSuccess: day(2), LastError: "no luck"},
		},
		"what is settled counts anew with the next run": {
			do: func(s *State) {
				ran(s, day(1), bad, false)
				ran(s, day(2), bad, false)
				s.Settles("v")
				ran(s, day(3), bad, false)
			},
			want: Volume{LastRun: day(3), LastEnd: day(4), LastError: "no luck", Failures: 1},
		},
		"an error without end is cut": {
			do:   func(s *State) { ran(s, day(1), errors.New(strings.Repeat("ä", maxError)), false) },
			want: Volume{LastRun: day(1), LastEnd: day(2), LastError: strings.Repeat("ä", maxError/2), Failures: 1},
		},
		"a drill that never ended came to no verdict": {
			do:   func(s *State) { s.DrillsSince("v", day(1)); s.DrillsSince("v", day(2)); s.DrillBegan("v", day(3)) },
			want: Volume{Drills: Drills{Since: day(1), Began: day(3), Last: day(3), Goes: 1, Error: "the drill did not come to its end"}},
		},
		"drills without verdict are counted": {
			do: func(s *State) {
				s.DrillBegan("v", day(1))
				s.DrillEnded("v", day(2), bad)
				s.DrillBegan("v", day(3))
				s.DrillEnded("v", day(4), bad)
			},
			want: Volume{Drills: Drills{Began: day(3), Last: day(4), Goes: 2, Error: "no luck"}},
		},
		"a verdict ends them": {
			do:   func(s *State) { s.DrillBegan("v", day(1)); s.DrillBegan("v", day(3)); s.DrillEnded("v", day(4), nil) },
			want: Volume{Drills: Drills{Began: day(3), Last: day(4)}},
		},
		"labels are replaced": {
			do: func(s *State) {
				s.Label(map[string]map[string]map[string]string{"v": {"web": {"a": "1"}}, "w": nil})
				s.Label(map[string]map[string]map[string]string{"v": {"db": {"b": "2"}}})
			},
			want: Volume{Labels: map[string]map[string]string{"db": {"b": "2"}}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var s State
			tt.do(&s)
			if diff := cmp.Diff(tt.want, s.Volumes["v"]); diff != "" {
				t.Error("the volume (-want +got):\n" + diff)
			}
		})
	}
}

func TestForgetTakesOnlyWhatIsGoneForLong(t *testing.T) {
	var s State
	s.Seen("gone for long", day(1))
	s.Seen("gone just now", day(1))
	s.Began("gone just now", day(20))
	s.Seen("there for long", day(1))
	s.Forget(func(volume string) bool { return strings.HasPrefix(volume, "gone") }, day(10))

	_, long := s.Volumes["gone for long"]
	if _, justNow := s.Volumes["gone just now"]; long || !justNow || len(s.Volumes) != 2 {
		t.Errorf("left are %v", s.Volumes)
	}
}

func TestAnyNameSurvivesTheFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := State{Volumes: map[string]Volume{}}
		for _, name := range rapid.SliceOf(rapid.SliceOfN(rapid.Byte(), 1, 20)).Draw(t, "names") {
			want.Began(string(name), day(len(want.Volumes)%28+1))
		}
		data, err := want.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error("(-want +got):\n" + diff)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version": 1, "volumes": {"app": {"failures": 1, "first_seen": "2026-11-01T03:00:00Z"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decode(data)
		if err != nil {
			return
		}
		again, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decode(again); err != nil || !cmp.Equal(s, back) {
			t.Errorf("%q became %q: %v", data, again, err)
		}
	})
}

func TestWhatOpensIsAProofForTheRecipientsOfNow(t *testing.T) {
	var s State
	s.Opens(day(1), day(1)) // nothing is encrypted
	if !s.Keys.Opened.IsZero() {
		t.Error("a proof without recipients")
	}
	s.EncryptsTo("one", day(2).Add(time.Millisecond))
	s.EncryptsTo("one", day(5))
	for _, step := range []struct {
		encrypted int
		want      time.Time
	}{{1, time.Time{}}, {2, day(7)}, {3, day(7)}} {
		if s.Opens(day(step.encrypted), day(7)); !s.Keys.Opened.Equal(step.want) {
			t.Errorf("what was encrypted on day %d: proven %v, want %v", step.encrypted, s.Keys.Opened, step.want)
		}
	}
	s.EncryptsTo("two", day(8))
	if s.Opens(day(7), day(9)); !s.Keys.Opened.IsZero() {
		t.Error("other recipients are proven by what was encrypted before")
	}
	if got := reread(t, s).Keys; got != s.Keys {
		t.Errorf("read again as %+v, was %+v", got, s.Keys)
	}
}

func TestARoundOutlivesTheFile(t *testing.T) {
	s := State{Verify: Round{Since: day(1), Began: day(2), Ended: day(3), Last: day(4), Goes: 2}, ByHand: day(5)}
	if got := reread(t, s); got.Verify != s.Verify || got.ByHand != s.ByHand {
		t.Errorf("read again as %+v, was %+v", got, s)
	}
	if _, err := decode([]byte(`{"version": 1, "verify": {"goes": -1}}`)); err == nil {
		t.Error("less than no goes were read")
	}
}

func reread(t *testing.T, s State) State {
	t.Helper()
	data, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return got
}
