package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/backupd/backupd/internal/archive"

	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/snapshot"
)

// writeJSON prints one document: an object with the listing under its name.
func writeJSON(w io.Writer, name string, listing any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(map[string]any{name: listing})
}

// jsonList prints the same as writeJSON of a listing, item by item, so that one of any length takes no memory.
type jsonList struct {
	w     io.Writer
	comma string
}

func newJSONList(w io.Writer, name string) (*jsonList, error) {
	_, err := fmt.Fprintf(w, "{\n  %q: [", name)
	return &jsonList{w: w}, err
}

func (l *jsonList) add(item any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("    ", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(item); err != nil {
		return err
	}
	_, err := fmt.Fprintf(l.w, "%s\n    %s", l.comma, bytes.TrimSpace(b.Bytes()))
	l.comma = ","
	return err
}

func (l *jsonList) end() error {
	if l.comma != "" {
		l.comma = "\n  "
	}
	_, err := fmt.Fprintf(l.w, "%s]\n}\n", strings.TrimPrefix(l.comma, ","))
	return err
}

// entryLine is a file, or whatever it is, in one line.
func entryLine(e archive.Entry) string {
	return fmt.Sprintf("%-9s %04o %d:%d %12d %s %s", e.Kind, e.Mode, e.UID, e.GID, e.Size, e.ModTime.Local().Format(time.DateTime), printable(e.Path))
}

// table prints rows in columns. Cells come from outside, so none can break out of its place.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer, header ...string) table {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.row(header...)
	return t
}

func (t table) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = strings.ReplaceAll(printable(cell), "\t", "?")
	}
	fmt.Fprintln(t.w, strings.TrimRight(strings.Join(cells, "\t"), "\t "))
}

func (t table) flush() error { return t.w.Flush() }

// short is a size without the space, for tables with many columns.
func short(bytes int64) string { return strings.ReplaceAll(size(bytes), " ", "") }

func size(bytes int64) string { return humanize.IBytes(uint64(max(bytes, 0))) }

// age says how far from now a moment is, in two digits and a unit, as a rule: "45s", "12m", "36h", "20d".
func age(t, now time.Time) string {
	d := now.Sub(t).Abs()
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}

// ago is age in words. A moment that is yet to come is one of a clock that was wrong, or is.
func ago(t, now time.Time) string {
	if t.After(now) {
		return "in " + age(t, now)
	}
	return age(t, now) + " ago"
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// held says how long containers were held.
func held(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case ms == 0:
		return "-"
	case d < time.Second:
		return d.String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}

// graded is a grade for people, for whom "fuzzy" is a fault where holding was asked for, and no news where it was not.
func graded(m snapshot.Manifest) string {
	word := string(m.Grade)
	if m.Grade == snapshot.Fuzzy && m.Quiesce == quiesce.None {
		word = "unheld"
	}
	if !m.Good() {
		word += "*"
	}
	return word
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
