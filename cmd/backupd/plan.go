package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/quiesce"
)

// jobRow is a job in the output of plan.
type jobRow struct {
	Volumes []plannedRow `json:"volumes"`
	Hooks   []hookRow    `json:"hooks"`
	Holds   []holdRow    `json:"holds"`
	Left    []string     `json:"left"`            // containers that write and cannot be held, as the engine is reached through them
	Error   string       `json:"error,omitempty"` // why the containers could not be held
}

type plannedRow struct {
	Volume     string       `json:"volume"`
	Refused    bool         `json:"refused"`
	Problems   []string     `json:"problems"`
	Expected   int64        `json:"expected_bytes"`   // what the newest snapshot held; 0 when there is none
	ExpectedMS int64        `json:"expected_held_ms"` // how long containers are likely to be held; 0 when nothing is known
	Cloned     bool         `json:"cloned"`           // large files are cloned while containers are held, and read afterwards
	NotCloned  string       `json:"not_cloned,omitempty"`
	Prunes     []pruneGroup `json:"prunes"`
}

type holdRow struct {
	Container string `json:"container"`
	How       string `json:"how"` // pause or stop; scale, of a swarm service
}

// hookRow is a label of a container that asks for a command to be run in it.
type hookRow struct {
	Container string `json:"container"`
	Hook      string `json:"hook"`  // pre, during, post or timeout
	Value     string `json:"value"` // as the label has it
}

func hookRows(c engine.Container) (rows []hookRow) {
	for _, key := range quiesce.HookLabels() {
		if value, there := c.Labels[key]; there {
			rows = append(rows, hookRow{c.Name, strings.TrimPrefix(key, "backupd.hook."), value})
		}
	}
	return rows
}

func newPlan(std streams) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "plan [VOLUME...]",
		GroupID: "make",
		Short:   "Show what a backup would do, without doing it",
		Long: `Show, for the named volumes or all that are enrolled: which are read together,
which hooks run in which containers, which containers are held and how, how much
there was last time, how long they are likely to be held, by the last good
snapshots, and what retention would remove. Where the file system can clone files
(XFS, Btrfs), a volume is cloned while containers are held, and read afterwards;
elsewhere it is read meanwhile.`,
		Example: `  backupd plan
  backupd plan app`,
		ValidArgsFunction: complete(std, volumeNames, 0),
		RunE: withApp(std, func(ctx context.Context, a *app, args []string) error {
			src, due, err := a.chosen(ctx, args)
			if err != nil {
				return err
			}
			scene, err := a.scene(ctx, src)
			if err != nil {
				return err
			}
			var rows []jobRow
			for _, job := range plan.Jobs(due) {
				rows = append(rows, a.jobRow(ctx, src, job, scene))
			}
			if asJSON {
				return writeJSON(std.out, "jobs", rows)
			}
			printPlan(std, rows)
			return nil
		}),
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return c
}

func (a *app) jobRow(ctx context.Context, src source, job plan.Job, scene quiesce.Scene) jobRow {
	row := jobRow{Hooks: []hookRow{}, Holds: []holdRow{}, Left: []string{}}
	holds, err := quiesce.Prepare(ctx, src, job.Request(), scene)
	row.Error = text(err)
	for _, h := range holds.Hooked {
		row.Hooks = append(row.Hooks, hookRows(h.Container)...)
	}
	for _, step := range holds.Steps {
		row.Holds = append(row.Holds, holdRow{step.Container.Name, step.How.String()})
	}
	for _, c := range holds.Doors {
		row.Left = append(row.Left, c.Name)
	}
	for _, v := range job.Volumes {
		row.Volumes = append(row.Volumes, a.plannedRow(ctx, v))
	}
	return row
}

func (a *app) plannedRow(ctx context.Context, v plan.Volume) plannedRow {
	row := plannedRow{Volume: v.Name, Refused: v.Refused, Problems: []string{}, Prunes: []pruneGroup{}}
	for _, p := range v.Problems {
		row.Problems = append(row.Problems, p.String())
	}
	why := notCloned(v)
	row.Cloned, row.NotCloned = why == nil, text(why)
	// A target that cannot be listed says so below, with what retention would do there.
	if all, _ := a.snapshots(ctx, []string{v.Name}); len(all) > 0 {
		row.Expected, row.ExpectedMS = all[len(all)-1].Contents.Bytes, expectedHold(all, row.Cloned)
	}
	for _, name := range v.Targets.Value {
		t, err := a.target(name)
		if err != nil {
			continue // one of the problems
		}
		row.Prunes = append(row.Prunes, a.pruneGroup(ctx, t, v.Name, v.Retention.Value))
	}
	return row
}

func printPlan(std streams, rows []jobRow) {
	for i, job := range rows {
		if i > 0 {
			fmt.Fprintln(std.out)
		}
		var holds []string
		for _, h := range job.Hooks {
			if h.Hook != "timeout" {
				fmt.Fprintf(std.out, "%s-hook in %s: %s\n", h.Hook, printable(h.Container), printable(h.Value))
			}
		}
		for _, h := range job.Holds {
			holds = append(holds, h.How+" "+printable(h.Container))
		}
		switch {
		case job.Error != "":
			fmt.Fprintf(std.out, "CANNOT HOLD: %s\n", printable(job.Error))
		case len(holds) == 0:
			fmt.Fprintln(std.out, "hold nothing")
		default:
			fmt.Fprintln(std.out, strings.Join(holds, ", then "))
		}
		for _, name := range job.Left {
			fmt.Fprintf(std.out, "LEFT RUNNING: container %s, which the engine is reached through (DOCKER_HOST), so data may move\n", printable(name))
		}
		for _, v := range job.Volumes {
			printPlanned(std, v)
		}
	}
}

func printPlanned(std streams, v plannedRow) {
	expected := "nothing is known of its size yet"
	if v.Expected > 0 {
		expected = size(v.Expected) + " last time"
	}
	if v.ExpectedMS > 0 {
		expected += ", to be held for some " + held(v.ExpectedMS)
	}
	verb := "read"
	switch {
	case v.Refused:
		verb = "REFUSED:"
	case v.Cloned:
		verb = "clone"
	}
	fmt.Fprintf(std.out, "  %s volume %s (%s)\n", verb, printable(v.Volume), expected)
	for _, p := range v.Problems {
		fmt.Fprintf(std.out, "    PROBLEM %s\n", printable(p))
	}
	for _, g := range v.Prunes {
		switch doomed := g.doomed(); {
		case g.Error != "":
			fmt.Fprintf(std.out, "    on %s nothing is removed: %s\n", g.Target, printable(g.Error))
		case len(doomed) > 0:
			fmt.Fprintf(std.out, "    then remove from %s:\n", g.Target)
			for _, id := range doomed {
				fmt.Fprintf(std.out, "      %s\n", id)
			}
		}
	}
}
