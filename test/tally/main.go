// Command tally reads what `go test -json` prints and shows what `go test` would; last it lists what tests measured
// (by T.Attr) and what was not run and why (by T.Skip), which go test itself keeps quiet about.
//
// Each argument is one more thing that was not run. It exits with 1 when a test failed, and when anything was not run although
// TEST_REQUIRE is "all".
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	t := tally{out: os.Stdout, notRun: os.Args[1:], open: map[string]*pkg{}}
	if err := t.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(1)
	}
	if !t.close(os.Getenv("TEST_REQUIRE") == "all") {
		os.Exit(1)
	}
}

// event is one line of `go test -json`; see `go doc test2json` and `go help buildjson`.
type event struct {
	Action     string
	Package    string
	ImportPath string // instead of Package, of what the compiler says
	Test       string
	Output     string
	Key, Value string
}

type tally struct {
	out      io.Writer
	open     map[string]*pkg // packages whose tests have not ended
	ok       int
	failed   []string // packages
	measured []string
	notRun   []string
}

// pkg is what the tests of a package have printed so far.
type pkg struct {
	seed  string          // of the order they ran in
	own   strings.Builder // outside any test
	order []string        // tests, as they began
	tests map[string]*test
}

type test struct {
	output strings.Builder
	result string // "pass", "fail", "skip"; "" while it runs
}

func (t *tally) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			t.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the tests' output: %w", err)
		}
	}
}

// line takes one event. What is not one, as when go itself breaks down, is shown as it is.
func (t *tally) line(line string) {
	var e event
	if err := json.Unmarshal([]byte(line), &e); err != nil || e.Action == "" {
		fmt.Fprint(t.out, line)
		return
	}
	if e.Action == "build-output" {
		fmt.Fprint(t.out, e.Output)
		return
	}
	if e.Package == "" {
		return
	}
	p := t.open[e.Package]
	if p == nil {
		p = &pkg{tests: map[string]*test{}}
		t.open[e.Package] = p
	}
	if e.Test != "" {
		t.test(p, e)
	} else {
		t.pkg(p, e)
	}
}

func (t *tally) test(p *pkg, e event) {
	one := p.tests[e.Test]
	if one == nil {
		one = &test{}
		p.tests[e.Test] = one
		p.order = append(p.order, e.Test)
	}
	switch e.Action {
	case "output":
		if !strings.HasPrefix(e.Output, "=== ") { // what -v adds, which -json implies
			one.output.WriteString(e.Output)
		}
	case "attr":
		t.measured = append(t.measured, fmt.Sprintf("%s: %s %s", e.Test, e.Key, e.Value))
	case "skip":
		t.notRun = append(t.notRun, e.Test+": "+reason(one.output.String()))
		one.result = e.Action
	case "pass", "fail":
		one.result = e.Action
	}
}

// reason finds in a skipped test's output what it said, as in "    engine_test.go:12: no engine".
func reason(output string) string {
	var said []string
	for line := range strings.Lines(output) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "--- ") {
			continue
		}
		if _, after, found := strings.Cut(line, ".go:"); found {
			if _, text, found := strings.Cut(after, ": "); found {
				line = text
			}
		}
		said = append(said, strings.TrimPrefix(line, "NOT RUN: "))
	}
	return strings.Join(said, " ")
}

func (t *tally) pkg(p *pkg, e event) {
	switch e.Action {
	case "output":
		if strings.HasPrefix(e.Output, "-test.shuffle ") {
			p.seed = e.Output
		} else if e.Output != "PASS\n" {
			p.own.WriteString(e.Output)
		}
	case "fail":
		t.failed = append(t.failed, e.Package)
		fmt.Fprint(t.out, p.seed)
		for _, name := range p.order {
			// A test without a result is the one that was running when the process died.
			if one := p.tests[name]; one.result == "fail" || one.result == "" {
				fmt.Fprint(t.out, one.output.String())
			}
		}
		fmt.Fprint(t.out, p.own.String())
		delete(t.open, e.Package)
	case "pass", "skip": // skip: it has no tests
		if e.Action == "pass" {
			t.ok++
		}
		fmt.Fprint(t.out, p.own.String())
		delete(t.open, e.Package)
	}
}

// close prints the closing lines and tells whether all is well. No package at all is not: then something before the tests went
// wrong, and neither is one that never ended.
func (t *tally) close(requireAll bool) bool {
	for name := range t.open {
		t.failed = append(t.failed, name)
	}
	slices.Sort(t.failed)
	slices.Sort(t.measured)
	slices.Sort(t.notRun)
	fmt.Fprintln(t.out)
	for _, m := range t.measured {
		fmt.Fprintln(t.out, "MEASURED:", m)
	}
	for _, n := range t.notRun {
		fmt.Fprintln(t.out, "NOT RUN:", n)
	}
	for _, f := range t.failed {
		fmt.Fprintln(t.out, "FAILED:", f)
	}
	fmt.Fprintf(t.out, "packages: %d ok, %d failed; tests NOT RUN: %d\n", t.ok, len(t.failed), len(t.notRun))
	return t.ok > 0 && len(t.failed) == 0 && (len(t.notRun) == 0 || !requireAll)
}
