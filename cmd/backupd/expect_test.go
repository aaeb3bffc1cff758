package main

import (
	"fmt"
	"testing"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/snapshot"
)

func TestAHoldIsExpectedToLastAsLongAsTheLastOnesOfItsKind(t *testing.T) {
	made := func(id string, ms, cloned int64, grade snapshot.Grade) stored {
		return stored{Snapshot: catalog.Snapshot{Manifest: snapshot.Manifest{
			ID: snapshot.ID(id), Grade: grade, Quiesce: "pause", Held: []snapshot.Held{{Container: "db", Milliseconds: ms}},
			Contents: snapshot.Contents{Cloned: cloned},
		}}}
	}
	var many []stored
	for i := range int64(9) {
		many = append(many, made(fmt.Sprint(i), 100-i, 0, snapshot.Frozen))
	}
	for name, c := range map[string]struct {
		all    []stored
		cloned bool
		want   int64
	}{
		"nothing is known":           {},
		"the median of the last":     {all: many, want: 94},
		"one that was slow":          {all: []stored{made("a", 10, 3, snapshot.Frozen), made("b", 900, 3, snapshot.Frozen), made("c", 12, 3, snapshot.Frozen)}, cloned: true, want: 12},
		"others were not cloned":     {all: append(many, made("x", 7, 3, snapshot.Frozen)), cloned: true, want: 7},
		"it can be cloned only now":  {all: many, cloned: true},
		"what did not hold still":    {all: []stored{made("a", 10, 0, snapshot.Frozen), made("b", 900, 0, snapshot.Fuzzy)}, want: 10},
		"on two targets, it is once": {all: []stored{made("a", 10, 0, snapshot.Frozen), made("b", 30, 0, snapshot.Frozen), made("c", 20, 0, snapshot.Frozen), made("c", 20, 0, snapshot.Frozen), made("a", 10, 0, snapshot.Frozen)}, want: 20},
	} {
		t.Run(name, func(t *testing.T) {
			if got := expectedHold(c.all, c.cloned); got != c.want {
				t.Errorf("%d ms are expected, want %d", got, c.want)
			}
		})
	}
}
