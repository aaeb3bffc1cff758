package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/config"
)

var update = flag.Bool("update", false, "write the table of settings into README.md")

// TestReadmeListsTheSettings keeps README's table as the program has it. After a change:
//
//	go test ./cmd/backupd -run TestReadme -update
func TestReadmeListsTheSettings(t *testing.T) {
	const path, begin, end = "../../README.md", "<!-- settings: begin -->\n", "<!-- settings: end -->\n"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(data), begin)
	table, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the settings, between %q and %q", path, begin, end)
	}
	diff := cmp.Diff(settingsTable(), table)
	if diff == "" {
		return
	}
	if !*update {
		t.Fatalf("the settings in %s (-want +got):\n%s", path, diff)
	}
	if err := os.WriteFile(path, []byte(before+begin+settingsTable()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func settingsTable() string {
	var b strings.Builder
	b.WriteString("| variable | default | |\n|---|---|---|\n")
	for _, v := range config.Variables() {
		value := ""
		if v.Default != "" {
			value = "`" + v.Default + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.Name, value, strings.ReplaceAll(v.Help, "|", `\|`))
	}
	return b.String()
}
