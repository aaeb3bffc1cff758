package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/plan"
)

func newBackup(std streams) *cobra.Command {
	var asJSON, allowEmpty bool
	c := &cobra.Command{
		Use:     "backup [VOLUME...]",
		GroupID: "make",
		Short:   "Back up now",
		Long: `Back up the named volumes now, or all that are enrolled. Volumes that share a
running container are read under one hold. Retention is applied after each
success, as in scheduled runs.

Exit codes: 0 when every volume is on each of its targets, 3 when only some of
that came about, 1 when nothing did.`,
		Example: `  backupd backup
  backupd backup app db`,
		ValidArgsFunction: complete(std, volumeNames, 0),
		RunE: withApp(std, func(ctx context.Context, a *app, args []string) error {
			src, err := a.source(ctx)
			if err != nil {
				return err
			}
			enrolled, err := a.finder(src).Volumes(ctx)
			if err != nil {
				return err
			}
			a.logProblems(enrolled)
			due, err := chosen(enrolled, args)
			if err != nil {
				return err
			}
			runner, err := a.runner(src)
			if err != nil {
				return err
			}
			runner.AllowEmpty = allowEmpty
			if isTerminal(std.err) && !a.cfg.IsSet("BACKUPD_LOG_LEVEL") {
				runner.Log = newLog(std.err, slog.LevelWarn, a.cfg.LogFormat) // the table tells the rest
			}
			bars := newBars(std.err)
			runner.Progress = bars.update
			results := a.runJobs(ctx, runner, plan.Jobs(due))
			bars.done()
			if asJSON {
				if err := writeJSON(std.out, "backups", backupRows(results)); err != nil {
					return err
				}
			} else if err := printResults(std, results); err != nil {
				return err
			}
			return failed(results)
		}),
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	c.Flags().BoolVar(&allowEmpty, "allow-empty", false, "do not suspect a volume that is empty and was not empty before")
	return c
}

// chosen gives the named volumes, or all. What cannot be backed up is an error before anything is done when it was named.
func chosen(enrolled []plan.Volume, names []string) ([]plan.Volume, error) {
	if len(names) == 0 {
		if len(enrolled) == 0 {
			return nil, usagef("no volume is enrolled: label a volume, or a container that mounts it, with backupd.enable=true")
		}
		return enrolled, nil
	}
	var due []plan.Volume
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		i := slices.IndexFunc(enrolled, func(v plan.Volume) bool { return v.Name == name })
		if i < 0 {
			return nil, usagef("volume %q is not enrolled: see \"backupd volumes\", and label it or a container that mounts it with backupd.enable=true", name)
		}
		due = append(due, enrolled[i])
	}
	return due, nil
}

// runJobs runs one job after the other: what somebody waits for should not compete with itself.
func (a *app) runJobs(ctx context.Context, runner *backup.Runner, jobs []plan.Job) []backup.Result {
	var all []backup.Result
	for _, job := range jobs {
		started := a.now()
		results := runner.Run(ctx, job)
		all = append(all, results...)
		err := a.ledger.Update(func(s *ledger.State) error {
			for _, r := range results {
				if r.Stored() { // what failed has been told to who asked for it, and is not for the daemon to try again
					s.Began(r.Volume, started)
					s.Ended(r.Volume, a.now(), r.Failure(), true)
				}
			}
			return nil
		})
		if err != nil {
			a.log.Warn("the run could not be remembered: it may be repeated", "err", err)
		}
	}
	return all
}

func (a *app) logProblems(volumes []plan.Volume) {
	for _, v := range volumes {
		for _, p := range v.Problems {
			a.log.Warn("problem with a volume's settings", "volume", v.Name, "problem", p.String())
		}
	}
}

// backupRow is a volume in the output of backup.
type backupRow struct {
	Volume   string       `json:"volume"`
	Snapshot *snapshotRow `json:"snapshot,omitempty"` // without a target
	Targets  []targetRow  `json:"targets"`
	Error    string       `json:"error,omitempty"`
}

type targetRow struct {
	Name    string `json:"name"`
	Stored  bool   `json:"stored"`
	Removed int    `json:"removed"` // snapshots, by retention
	Error   string `json:"error,omitempty"`
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func backupRows(results []backup.Result) []backupRow {
	rows := make([]backupRow, len(results))
	for i, r := range results {
		rows[i] = backupRow{Volume: r.Volume, Targets: []targetRow{}, Error: text(r.Err)}
		if r.Manifest.ID != "" {
			s := row(stored{Snapshot: catalog.Snapshot{Manifest: r.Manifest}})
			rows[i].Snapshot = &s
		}
		for _, o := range r.Targets {
			rows[i].Targets = append(rows[i].Targets, targetRow{
				Name: o.Target, Stored: o.Err == nil, Removed: o.Removed, Error: text(errors.Join(o.Err, o.Prune)),
			})
		}
	}
	return rows
}

func printResults(std streams, results []backup.Result) error {
	t := newTable(std.out, "VOLUME", "SNAPSHOT", "SIZE", "STORED", "GRADE", "HELD", "TARGETS")
	for _, r := range results {
		m := r.Manifest
		if m.ID == "" {
			t.row(r.Volume, "-", "-", "-", "-", "-", "failed")
			continue
		}
		t.row(r.Volume, string(m.ID), short(m.Contents.Bytes), short(m.StoredBytes()), graded(m), held(m.HeldMS()), outcomes(r.Targets))
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, r := range results {
		for _, o := range r.Targets {
			if o.Removed > 0 {
				fmt.Fprintf(std.out, "retention removed %d of volume %s from %s\n", o.Removed, printable(r.Volume), o.Target)
			}
		}
	}
	return nil
}

func outcomes(targets []backup.Outcome) string {
	var words []string
	for _, o := range targets {
		word := o.Target
		if o.Err != nil {
			word += "(FAILED)"
		}
		words = append(words, word)
	}
	return strings.Join(words, ",")
}
