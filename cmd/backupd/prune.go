package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets"
)

// pruneGroup is what retention says of a volume on a target, in the outputs of prune and plan.
type pruneGroup struct {
	Volume   string       `json:"volume"`
	Target   string       `json:"target"`
	Policy   string       `json:"policy"`
	Verdicts []verdictRow `json:"verdicts"` // oldest first
	Archives []stayRow    `json:"archives"` // that stay without their own snapshots, oldest first
	Error    string       `json:"error,omitempty"`
}

type verdictRow struct {
	ID      snapshot.ID `json:"id"`
	Keep    bool        `json:"keep"`
	Reasons []string    `json:"reasons"`
	Kept    string      `json:"kept,omitempty"` // why the target would not let it go; asked for by prune --dry-run alone
}

// stayRow is an archive that stays for snapshots that are read from it, although its own one goes or is gone.
type stayRow struct {
	ID  snapshot.ID   `json:"id"`
	For []snapshot.ID `json:"for"` // oldest first
}

func (s stayRow) String() string {
	ids := make([]string, len(s.For))
	for i, id := range s.For {
		ids[i] = string(id)
	}
	const most = 3
	if more := len(ids) - most; more > 0 {
		ids = append(ids[:most], fmt.Sprintf("%d more", more))
	}
	return "stays for " + strings.Join(ids, ", ")
}

func (g pruneGroup) doomed() (ids []string) {
	for _, v := range g.Verdicts {
		if !v.Keep {
			ids = append(ids, string(v.ID))
		}
	}
	return ids
}

func (a *app) pruneGroup(ctx context.Context, t backup.Target, volume string, keep retention.Policy) pruneGroup {
	g := pruneGroup{Volume: volume, Target: t.Name, Policy: keep.String(), Verdicts: []verdictRow{}, Archives: []stayRow{}}
	verdicts, err := a.pruner.Verdicts(ctx, t, volume, keep)
	g.Error = text(err)
	for _, v := range slices.Backward(verdicts) {
		g.Verdicts = append(g.Verdicts, verdictRow{ID: v.ID, Keep: v.Keep, Reasons: v.Reasons})
	}
	for _, s := range retention.Stays(verdicts) {
		g.Archives = append(g.Archives, stayRow(s))
	}
	return g
}

// askWhatIsKept has the target say what it would not let go of what retention would remove.
func (g *pruneGroup) askWhatIsKept(ctx context.Context, t backup.Target) error {
	var errs []error
	for i, v := range g.Verdicts {
		if v.Keep {
			continue
		}
		err := t.Catalog.Kept(ctx, snapshot.Ref{Host: t.Catalog.Host(), Volume: g.Volume, ID: v.ID})
		if kept := (targets.Kept{}); errors.As(err, &kept) {
			g.Verdicts[i].Kept = kept.Why
		} else if err != nil {
			errs = append(errs, fmt.Errorf("target %s: %w", g.Target, err))
		}
	}
	return errors.Join(errs...)
}

func (v verdictRow) word() string {
	switch {
	case v.Keep:
		return "keep"
	case v.Kept != "":
		return "stays"
	}
	return "remove"
}

func (v verdictRow) why() string {
	why := v.Reasons
	if v.Kept != "" {
		why = append(slices.Clone(why), v.Kept)
	}
	return strings.Join(why, ", ")
}

func newPrune(std streams) *cobra.Command {
	var dryRun, asJSON bool
	c := &cobra.Command{
		Use:     "prune [VOLUME...]",
		GroupID: "tidy",
		Short:   "Apply retention now",
		Long: `Remove what no rule of a volume's retention policy keeps, from each of its
targets; of the named volumes or all that are enrolled. This happens by itself
after each backup.

The archive of a snapshot that goes stays for as long as later snapshots, which
lean on it, are read from it, and goes with the last of them.

With --dry-run nothing is removed, and each snapshot is shown with the verdict
on it and its reasons, and each archive that stays with those that need it. What
the target would not let go, because it is locked, stays, and until when is shown.`,
		Example: `  backupd prune --dry-run
  backupd prune app`,
		ValidArgsFunction: complete(std, volumeNames, 0),
		PreRunE: func(*cobra.Command, []string) error {
			if asJSON && !dryRun {
				return usagef("--json goes with --dry-run")
			}
			return nil
		},
		RunE: withApp(std, func(ctx context.Context, a *app, args []string) error {
			_, due, err := a.chosen(ctx, args)
			if err != nil {
				return err
			}
			if dryRun {
				return a.pruneDry(ctx, due, asJSON)
			}
			return a.prune(ctx, due)
		}),
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "show each verdict and its reasons, and remove nothing")
	c.Flags().BoolVar(&asJSON, "json", false, "with --dry-run: print one JSON document")
	return c
}

func (a *app) pruneDry(ctx context.Context, volumes []plan.Volume, asJSON bool) error {
	groups := []pruneGroup{}
	var errs []error
	for _, v := range volumes {
		for _, name := range v.Targets.Value {
			t, err := a.target(name)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			g := a.pruneGroup(ctx, t, v.Name, v.Retention.Value)
			errs = append(errs, g.askWhatIsKept(ctx, t))
			if g.Error != "" {
				errs = append(errs, fmt.Errorf("target %s: %s", g.Target, g.Error))
			}
			groups = append(groups, g)
		}
	}
	if asJSON {
		errs = append(errs, writeJSON(a.std.out, "prunes", groups))
		return errors.Join(errs...)
	}
	for _, g := range groups {
		fmt.Fprintf(a.std.out, "%s on %s, by %q\n", printable(g.Volume), g.Target, g.Policy)
		t := newTable(a.std.out, "  VERDICT", "SNAPSHOT", "REASONS")
		for _, v := range g.Verdicts {
			t.row("  "+v.word(), string(v.ID), v.why())
		}
		for _, s := range g.Archives {
			t.row("  archive", string(s.ID), s.String())
		}
		errs = append(errs, t.flush())
	}
	return errors.Join(errs...)
}

func (a *app) prune(ctx context.Context, volumes []plan.Volume) error {
	var errs []error
	bad := 0
	for _, v := range volumes {
		if err := a.pruneVolume(ctx, v); err != nil {
			bad++
			errs = append(errs, err)
		}
	}
	if bad > 0 && bad < len(volumes) {
		return coded{errors.Join(errs...), exitSome}
	}
	return errors.Join(errs...)
}

func (a *app) pruneVolume(ctx context.Context, v plan.Volume) error {
	return a.underLock(ctx, func() error {
		var errs []error
		for _, name := range v.Targets.Value {
			t, err := a.target(name)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			pruned, err := a.pruner.Prune(ctx, t, v.Name, v.Retention.Value)
			if err != nil {
				errs = append(errs, fmt.Errorf("target %s: %w", t.Name, err))
			}
			fmt.Fprintf(a.std.out, "%s on %s: %d removed\n", printable(v.Name), t.Name, len(pruned.Removed))
			for _, kept := range pruned.Kept {
				fmt.Fprintf(a.std.out, "  %s\n", printable(kept.Error()))
			}
			for _, s := range pruned.Stays {
				fmt.Fprintf(a.std.out, "  archive %s %s\n", s.ID, stayRow(s))
			}
		}
		return errors.Join(errs...)
	}, v.Name)
}
