package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/daemon"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/plan"
)

func newBackup(std streams) *cobra.Command {
	var asJSON, allowEmpty, accept, full bool
	c := &cobra.Command{
		Use:     "backup [VOLUME...]",
		GroupID: "make",
		Short:   "Back up now",
		Long: `Back up the named volumes now, or all that are enrolled. Volumes that share a
running container are read under one hold. Retention is applied after each
success, as in scheduled runs.

What a volume holds is compared with its last good snapshots. When it has become
empty, has lost its database, or holds far less than is usual, the new snapshot
is suspect: it is stored, the run counts as failed, retention goes on keeping
the older ones, and "latest" means one of them. Look at the volume; where that is
what it should hold, back it up once with --accept, and what comes is compared
with that.

Files that have not changed since the last backup are not read, and not stored
again, where the volume's file system lets that be known for sure (see
BACKUPD_FULL); --full reads and stores everything.

Exit codes: 0 when every volume is on each of its targets, 3 when only some of
that came about, 1 when nothing did. With BACKUPD_TARGETS_POLICY=any one target is
enough for 0. "backupd sync" fills the others, as the daemon does by itself.`,
		Example: `  backupd backup
  backupd backup app db
  backupd backup app --full
  backupd backup app --accept    # it is much smaller by now, and that is meant`,
		ValidArgsFunction: complete(std, volumeNames, 0),
		RunE: withApp(std, func(ctx context.Context, a *app, args []string) error {
			if accept && len(args) == 0 {
				return usagef("--accept: name the volumes that hold what they should")
			}
			results, err := a.backup(ctx, args, func(r *backup.Runner) {
				r.AllowEmpty, r.Accept = allowEmpty, accept
				if full {
					r.LeanFor = 0
				}
			})
			switch {
			case err != nil:
				return err
			case asJSON:
				err = writeJSON(std.out, "backups", backupRows(results))
			default:
				err = printResults(std, results)
			}
			return errors.Join(err, failed(results))
		}),
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	c.Flags().BoolVar(&allowEmpty, "allow-empty", false, "do not suspect a volume that is empty and was not empty before")
	c.Flags().BoolVar(&full, "full", false, "read and store everything, leaning on no earlier archive")
	c.Flags().BoolVar(&accept, "accept", false, "do not suspect the named volumes, whatever they hold: it is meant")
	return c
}

// backup backs up the named volumes, or all, by a runner that with has changed, and shows how far it is.
func (a *app) backup(ctx context.Context, names []string, with func(*backup.Runner)) ([]backup.Result, error) {
	src, due, err := a.chosen(ctx, names)
	if err != nil {
		return nil, err
	}
	a.logProblems(due)
	runner, err := a.runner(src)
	if err != nil {
		return nil, err
	}
	with(runner)
	if isTerminal(a.std.err) && !a.cfg.IsSet("BACKUPD_LOG_LEVEL") {
		runner.Log = newLog(a.std.err, slog.LevelWarn, a.cfg.LogFormat) // the table tells the rest
	}
	bars := newBars(a.std.err)
	defer bars.done()
	runner.Progress = bars.update
	results := a.runJobs(ctx, runner, plan.Jobs(due))
	a.dropReplaced(ctx, src, results)
	return results, nil
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
					daemon.Missed(s, r, a.now(), a.anyTarget())
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
	Kept    int    `json:"kept"`    // by the target, of what retention would remove
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
				Name: o.Target, Stored: o.Err == nil, Removed: len(o.Pruned.Removed), Kept: len(o.Pruned.Kept), Error: text(errors.Join(o.Err, o.Prune)),
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
		for _, problem := range r.Unhealthy {
			fmt.Fprintf(std.out, "volume %s: %s\n", printable(r.Volume), printable(problem))
		}
		for _, o := range r.Missed() {
			if r.AnyTarget { // else it is an error
				fmt.Fprintf(std.out, "%s missed the snapshot of volume %s: %s\n", o.Target, printable(r.Volume), printable(o.Err.Error()))
			}
		}
		for _, o := range r.Targets {
			if n := len(o.Pruned.Removed); n > 0 {
				fmt.Fprintf(std.out, "retention removed %d of volume %s from %s\n", n, printable(r.Volume), o.Target)
			}
			if kept := o.Pruned.Kept; len(kept) > 0 {
				fmt.Fprintf(std.out, "%s keeps %d of volume %s that retention would remove; %s\n", o.Target, len(kept), printable(r.Volume), printable(kept[0].Error()))
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
