package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTally(t *testing.T) {
	for name, c := range map[string]struct {
		events  []event
		args    []string
		require bool
		want    string
		well    bool
	}{
		"a package that passes shows its line alone": {
			events: append(
				run("p", "TestA", "pass", "    a_test.go:3: noise\n"),
				event{Action: "output", Package: "p", Output: "-test.shuffle 7\n"},
				event{Action: "output", Package: "p", Output: "PASS\n"},
				event{Action: "output", Package: "p", Output: "ok  \tp\t0.1s\n"},
				event{Action: "pass", Package: "p"}),
			require: true,
			want:    "ok  \tp\t0.1s\n\npackages: 1 ok, 0 failed; tests NOT RUN: 0\n",
			well:    true,
		},
		"a failure shows the seed, the failed test and the one that was running": {
			events: slices.Concat(
				run("p", "TestA", "fail", "    a_test.go:3: 1 is not 2\n"),
				run("p", "TestB", "pass", "    b_test.go:3: noise\n"),
				run("p", "TestC", "", "panic: boo\n"),
				[]event{
					{Action: "output", Package: "p", Output: "-test.shuffle 7\n"},
					{Action: "output", Package: "p", Output: "FAIL\tp\t0.1s\n"},
					{Action: "fail", Package: "p"},
				}),
			want: "-test.shuffle 7\n    a_test.go:3: 1 is not 2\npanic: boo\nFAIL\tp\t0.1s\n\n" +
				"FAILED: p\npackages: 0 ok, 1 failed; tests NOT RUN: 0\n",
		},
		"what the compiler says is shown": {
			events: []event{
				{Action: "build-output", ImportPath: "p [p.test]", Output: "p.go:1: undefined: x\n"},
				{Action: "build-fail", ImportPath: "p [p.test]"},
				{Action: "output", Package: "p", Output: "FAIL\tp [build failed]\n"},
				{Action: "fail", Package: "p"},
			},
			want: "p.go:1: undefined: x\nFAIL\tp [build failed]\n\nFAILED: p\npackages: 0 ok, 1 failed; tests NOT RUN: 0\n",
		},
		"skips are counted with their reasons": {
			events: append(run("p", "TestA/sub", "skip", "    a_test.go:3: NOT RUN: a real engine: no root\n"), passed("p")),
			want:   "\nNOT RUN: TestA/sub: a real engine: no root\npackages: 1 ok, 0 failed; tests NOT RUN: 1\n",
			well:   true,
		},
		"a skip is a failure where everything is required": {
			events:  append(run("p", "TestA", "skip", ""), passed("p")),
			require: true,
			want:    "\nNOT RUN: TestA: \npackages: 1 ok, 0 failed; tests NOT RUN: 1\n",
		},
		"so is what the caller could not run": {
			events:  []event{passed("p")},
			args:    []string{"the race detector: no C compiler"},
			require: true,
			want:    "\nNOT RUN: the race detector: no C compiler\npackages: 1 ok, 0 failed; tests NOT RUN: 1\n",
		},
		"measured values are listed": {
			events: []event{{Action: "attr", Package: "p", Test: "TestA", Key: "pause", Value: "12ms"}, passed("p")},
			want:   "\nMEASURED: TestA: pause 12ms\npackages: 1 ok, 0 failed; tests NOT RUN: 0\n",
			well:   true,
		},
		"a package that never ends has failed": {
			events: []event{{Action: "start", Package: "p"}, passed("q")},
			want:   "\nFAILED: p\npackages: 1 ok, 1 failed; tests NOT RUN: 0\n",
		},
		"no tests at all are no success": {
			want: "\npackages: 0 ok, 0 failed; tests NOT RUN: 0\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out, in strings.Builder
			for _, e := range c.events {
				if err := json.NewEncoder(&in).Encode(e); err != nil {
					t.Fatal(err)
				}
			}
			tally := tally{out: &out, notRun: c.args, open: map[string]*pkg{}}
			if err := tally.read(strings.NewReader(in.String())); err != nil {
				t.Fatal(err)
			}
			if well := tally.close(c.require); well != c.well {
				t.Errorf("close says %v, want %v", well, c.well)
			}
			if diff := cmp.Diff(c.want, out.String()); diff != "" {
				t.Error("output (-want +got):\n" + diff)
			}
		})
	}
}

func TestWhatIsNoEventIsShownAsItIs(t *testing.T) {
	var out strings.Builder
	tally := tally{out: &out, open: map[string]*pkg{}}
	in := "go: cannot find main module\n{\"a\":1}\nno newline"
	if err := tally.read(strings.NewReader(in)); err != nil {
		t.Fatal(err)
	}
	if out.String() != in {
		t.Errorf("shown: %q, want %q", out.String(), in)
	}
}

// run is a test that prints output and ends with a result, or never when that is "".
func run(pkg, test, result, output string) []event {
	events := []event{
		{Action: "run", Package: pkg, Test: test},
		{Action: "output", Package: pkg, Test: test, Output: "=== RUN   " + test + "\n"},
		{Action: "output", Package: pkg, Test: test, Output: output},
	}
	if result != "" {
		events = append(events, event{Action: result, Package: pkg, Test: test})
	}
	return events
}

func passed(pkg string) event { return event{Action: "pass", Package: pkg} }
