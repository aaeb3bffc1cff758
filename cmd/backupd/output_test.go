package main

import (
	"errors"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/snapshot"
)

func TestAges(t *testing.T) {
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	for want, before := range map[string]time.Duration{
		"0s ago": 0, "59s ago": 59*time.Second + 999*time.Millisecond, "1m ago": time.Minute, "59m ago": time.Hour - 1, "1h ago": time.Hour,
		"47h ago": 48*time.Hour - 1, "2d ago": 48 * time.Hour, "400d ago": 400 * 24 * time.Hour, "in 3h": -3 * time.Hour,
	} {
		if got := ago(now.Add(-before), now); got != want {
			t.Errorf("%v before now is %q, want %q", before, got, want)
		}
	}
}

func TestHolds(t *testing.T) {
	for ms, want := range map[int64]string{0: "-", 7: "7ms", 1234: "1.2s", 61_900: "1m2s"} {
		if got := held(ms); got != want {
			t.Errorf("%d ms is %q, want %q", ms, got, want)
		}
	}
}

func TestGradesForPeople(t *testing.T) {
	for want, m := range map[string]snapshot.Manifest{
		"frozen":  {Grade: snapshot.Frozen, Quiesce: "pause"},
		"fuzzy*":  {Grade: snapshot.Fuzzy, Quiesce: "pause"},
		"unheld":  {Grade: snapshot.Fuzzy, Quiesce: "none"},
		"unheld*": {Grade: snapshot.Fuzzy, Quiesce: "none", Suspect: "empty"},
		"cold*":   {Grade: snapshot.Cold, Quiesce: "pause", Suspect: "empty"},
	} {
		if got := graded(m); got != want {
			t.Errorf("%s of %s is %q, want %q", m.Grade, m.Quiesce, got, want)
		}
	}
}

func TestEachLineOfAnErrorNamesItsVolume(t *testing.T) {
	err := ofVolume{"app", errors.Join(errors.New("no target"), errors.New(`read volume "app": gone`))}
	if got, want := err.Error(), "volume \"app\": no target\nread volume \"app\": gone"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestNothingPrintedMovesTheCursor(t *testing.T) {
	for text, want := range map[string]string{"a\x1b[31mb": "a?[31mb", "two\nlines": "two?lines", "del\x7f": "del?", "csi\u009b": "csi?", "ü\t": "ü\t"} {
		if got := printable(text); got != want {
			t.Errorf("%q is printed as %q, want %q", text, got, want)
		}
	}
}
