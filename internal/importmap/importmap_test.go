package importmap

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/backupd/backupd/"

// short is a package's name on the map.
func short(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, module), "internal/")
}

// load gives what every package of ours imports, by its name on the map.
func load(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	imports := map[string][]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) && len(imports) > 0 {
			return imports
		} else if err != nil {
			t.Fatalf("read the list of packages: %v", err)
		}
		imports[short(p.ImportPath)] = p.Imports
	}
}

// place is where a package stands on the map, and what it may import.
type place struct {
	row     int
	imports []string
}

func parse(text string) map[string]place {
	places, row := map[string]place{}, 0
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case !strings.HasPrefix(line, "\t"):
			row++
		default:
			places[fields[0]] = place{row: row, imports: fields[1:]}
		}
	}
	return places
}

// edges are the imports of ours among all, as the map writes them: a neighbour in the row is marked.
func edges(places map[string]place, from string, imports []string) []string {
	ours := []string{}
	for _, path := range imports {
		if !strings.HasPrefix(path, module) {
			continue
		}
		to := short(path)
		if places[to].row == places[from].row {
			to = "=" + to
		}
		ours = append(ours, to)
	}
	return ours
}

func TestImportsAreOnTheMap(t *testing.T) {
	places := parse(layers)
	for name, imports := range load(t) {
		have := edges(places, name, imports)
		known, ok := places[name]
		want := append([]string{}, known.imports...)
		slices.Sort(have)
		slices.Sort(want)
		if diff := cmp.Diff(want, have); !ok || diff != "" {
			t.Errorf("the map should have this line, if it is meant so:\n\t%s %s", name, strings.Join(have, " "))
		}
	}
}

func TestImportsGoDown(t *testing.T) {
	if problems := climbing(parse(layers)); len(problems) > 0 {
		t.Error(strings.Join(problems, "\n"))
	}
}

// climbing finds what is wrong with the map itself.
func climbing(places map[string]place) []string {
	var problems []string
	for from, p := range places {
		for _, edge := range p.imports {
			to, sideways := strings.CutPrefix(edge, "=")
			target, ok := places[to]
			if !ok || target.row < p.row || (target.row == p.row) != sideways {
				problems = append(problems, fmt.Sprintf("%s imports %s, which is not below it", from, edge))
			}
		}
	}
	slices.Sort(problems)
	return problems
}

func TestTheMapIsReadAsDrawn(t *testing.T) {
	got := climbing(parse("top\n\ta b =d x\n\td\nlow\n\tb a =c\n\tc b\n"))
	want := []string{
		"a imports x, which is not below it",
		"b imports a, which is not below it",
		"c imports b, which is not below it",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("problems (-want +got):\n" + diff)
	}
}

func TestOutsideThingsHaveOneDoor(t *testing.T) {
	for name, imports := range load(t) {
		for _, path := range imports {
			for thing, may := range doors {
				if strings.HasPrefix(path, thing) && !slices.Contains(may, name) {
					t.Errorf("%s imports %s: that is for %s alone", name, path, strings.Join(may, ", "))
				}
			}
		}
	}
}

func TestTheProgramBringsAlongWhatABareMachineLacks(t *testing.T) {
	imports, built := load(t)["cmd/backupd"]
	for _, path := range embedded {
		if built && !slices.Contains(imports, path) {
			t.Errorf("cmd/backupd does not import %s", path)
		}
	}
}
