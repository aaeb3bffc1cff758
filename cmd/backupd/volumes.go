package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/daemon"
	"github.com/backupd/backupd/internal/plan"
)

// volumeRow is a volume in the output of volumes.
type volumeRow struct {
	Name        string                `json:"name"`
	Driver      string                `json:"driver"`
	Enrolled    string                `json:"enrolled"` // by what
	Refused     bool                  `json:"refused"`  // not backed up until its problems are mended
	Problems    []string              `json:"problems"`
	Settings    map[string]settingRow `json:"settings"`
	Containers  []string              `json:"containers"`
	Hooks       []hookRow             `json:"hooks"` // of these containers
	NextRun     *time.Time            `json:"next_run,omitempty"`
	LastRun     *time.Time            `json:"last_run,omitempty"`
	LastSuccess *time.Time            `json:"last_success,omitempty"`
	LastError   string                `json:"last_error,omitempty"`
	Missed      []string              `json:"missed,omitempty"` // targets without snapshots that others have
	NextDrill   *time.Time            `json:"next_drill,omitempty"`
	LastDrill   *time.Time            `json:"last_drill,omitempty"`  // by the daemon, whatever came of it
	DrillError  string                `json:"drill_error,omitempty"` // why that came to no verdict
}

type settingRow struct {
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

func newVolumes(std streams) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "volumes",
		GroupID: "look",
		Short:   "Show enrolled volumes, each setting and where it came from",
		Long: `Show every enrolled volume: what enrolled it, each setting with the place that it
came from, the containers that mount it, its last backup and its next run, and
what is wrong with its labels.

Weakest first, settings come from: the default, the environment, a container's
label, the volume's label, the overrides file. "backupd help settings" lists them.`,
		Example: `  backupd volumes
  backupd volumes --json | jq -r '.volumes[] | select(.problems != []) | .name'`,
		Args: noArgs,
		RunE: withApp(std, func(ctx context.Context, a *app, _ []string) error {
			_, volumes, err := a.enrolled(ctx)
			if err != nil {
				return err
			}
			rows := make([]volumeRow, len(volumes))
			for i, v := range volumes {
				rows[i] = a.volumeRow(v)
			}
			if asJSON {
				return writeJSON(std.out, "volumes", rows)
			}
			return printVolumes(std, rows, a.now())
		}),
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return c
}

func (a *app) volumeRow(v plan.Volume) volumeRow {
	row := volumeRow{
		Name: v.Name, Driver: v.Driver, Enrolled: v.Enrolled.String(), Refused: v.Refused, Problems: []string{},
		Settings: settingRows(v.Settings), Containers: []string{}, Hooks: []hookRow{},
	}
	for _, p := range v.Problems {
		row.Problems = append(row.Problems, p.String())
	}
	for _, c := range v.Containers {
		row.Containers = append(row.Containers, c.Name)
		row.Hooks = append(row.Hooks, hookRows(c)...)
	}
	known := a.ledger.View().Volumes[v.Name]
	row.LastRun, row.LastSuccess, row.LastError = nonZero(known.LastRun), nonZero(known.LastSuccess), known.LastError
	row.Missed = slices.Sorted(maps.Keys(known.Missed))
	if !v.Refused {
		row.NextRun = nonZero(daemon.NextRun(v, known, a.host, time.Local, a.now()))
	}
	row.NextDrill = nonZero(daemon.NextDrill(v, known.Drills, a.host, time.Local, a.now()))
	row.LastDrill, row.DrillError = nonZero(known.Drills.Began), known.Drills.Error
	return row
}

func nonZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// settingRows gives each setting under the key that its label has.
func settingRows(s plan.Settings) map[string]settingRow {
	rows := map[string]settingRow{
		"schedule":      {s.Schedule.Value.String(), s.Schedule.Origin.String()},
		"retention":     {s.Retention.Value.String(), s.Retention.Origin.String()},
		"quiesce":       {s.Quiesce.Value.String(), s.Quiesce.Origin.String()},
		"quiesce.limit": {s.Limit.Value.String(), s.Limit.Origin.String()},
		"targets":       {strings.Join(s.Targets.Value, ","), s.Targets.Origin.String()},
		"drill":         {cmp.Or(s.Drill.Value.String(), "never"), s.Drill.Origin.String()},
	}
	if len(s.DrillExec.Value) > 0 {
		rows["drill.exec"] = settingRow{strings.Join(s.DrillExec.Value, " "), s.DrillExec.Origin.String()}
	}
	if s.DrillEnv.Value != "" {
		rows["drill.env-file"] = settingRow{s.DrillEnv.Value, s.DrillEnv.Origin.String()}
	}
	if len(s.Exclude.Value) > 0 {
		rows["exclude"] = settingRow{strings.Join(s.Exclude.Value, ","), s.Exclude.Origin.String()}
	}
	if s.Group.Value != "" {
		rows["group"] = settingRow{s.Group.Value, s.Group.Origin.String()}
	}
	return rows
}

func printVolumes(std streams, rows []volumeRow, now time.Time) error {
	if len(rows) == 0 {
		fmt.Fprintln(std.err, "no volume is enrolled: label a volume, or a container that mounts it, with backupd.enable=true")
		return nil
	}
	for i, r := range rows {
		if i > 0 {
			fmt.Fprintln(std.out)
		}
		if err := printVolume(std, r, now); err != nil {
			return err
		}
	}
	return nil
}

func printVolume(std streams, r volumeRow, now time.Time) error {
	fmt.Fprintf(std.out, "%s\n", printable(r.Name))
	t := table{tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)}
	t.row("  enrolled by", r.Enrolled)
	for _, key := range slices.Sorted(maps.Keys(r.Settings)) {
		t.row("  "+key, orDash(r.Settings[key].Value), r.Settings[key].Origin)
	}
	for _, h := range r.Hooks {
		t.row("  hook."+h.Hook, h.Value, "label of container "+h.Container)
	}
	t.row("  containers", orDash(strings.Join(r.Containers, ", ")))
	t.row("  last backup", lastBackup(r, now))
	if len(r.Missed) > 0 {
		t.row("  to be filled", strings.Join(r.Missed, ", "))
	}
	next := "never: mend the problems below"
	if r.NextRun != nil {
		next = fmt.Sprintf("%s (%s)", moment(*r.NextRun), until(*r.NextRun, now))
	}
	t.row("  next run", next)
	if r.NextDrill != nil {
		t.row("  next drill", fmt.Sprintf("%s (%s)", moment(*r.NextDrill), until(*r.NextDrill, now)))
	}
	if r.DrillError != "" {
		first, _, _ := strings.Cut(r.DrillError, "\n")
		t.row("  last drill", ago(*r.LastDrill, now)+", without verdict: "+first)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, p := range r.Problems {
		fmt.Fprintf(std.out, "  PROBLEM: %s\n", printable(p))
	}
	return nil
}

// until says when a run is; one whose time has come waits for a daemon.
func until(t, now time.Time) string {
	if t.After(now) {
		return ago(t, now)
	}
	return "due"
}

func lastBackup(r volumeRow, now time.Time) string {
	words := "none yet"
	if r.LastSuccess != nil {
		words = ago(*r.LastSuccess, now)
	}
	if r.LastError != "" {
		first, _, _ := strings.Cut(r.LastError, "\n")
		words += "; the last run failed: " + first
	}
	return words
}
