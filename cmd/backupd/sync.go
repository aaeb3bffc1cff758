package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/gaps"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/snapshot"
)

// copyRow is a snapshot that a target missed, in the output of sync.
type copyRow struct {
	Volume string      `json:"volume"`
	ID     snapshot.ID `json:"id,omitempty"` // without, the error is about the target as a whole
	Target string      `json:"target"`       // that missed it
	Source string      `json:"source,omitempty"`
	Bytes  int64       `json:"bytes"`  // of its archive
	Copied bool        `json:"copied"` // it is there now
	Error  string      `json:"error,omitempty"`

	// Spoiled says of other targets why it could not be copied from there.
	Spoiled []string `json:"spoiled,omitempty"`
}

type syncFlags struct {
	from, to                 string
	anyOwner, dryRun, asJSON bool
}

func newSync(std streams) *cobra.Command {
	var f syncFlags
	c := &cobra.Command{
		Use:     "sync [VOLUME...]",
		GroupID: "make",
		Short:   "Fill targets that missed snapshots",
		Long: `Copy the snapshots that a target missed from another one that has them; of the
named volumes or all that are enrolled. No volume is read and no container
touched. What is copied is what is stored, byte for byte, and checked on the way:
an encrypted snapshot needs no key. Of each snapshot the archive comes first.

A target gets what its volume's retention would keep there and nothing else, the
newest first. Nothing is replaced. A copy that is damaged is not spread: another
target's is taken, and exit code 4 tells. 3 says that some copies failed, 1 that
all did.`,
		Example: `  backupd sync
  backupd sync --dry-run
  backupd sync app --from local --to offsite`,
		ValidArgsFunction: complete(std, volumeNames, 0),
		RunE:              withApp(std, func(ctx context.Context, a *app, args []string) error { return a.runSync(ctx, args, f) }),
	}
	c.Flags().StringVar(&f.from, "from", "", "copy only from this target")
	c.Flags().StringVar(&f.to, "to", "", "fill only this target")
	c.Flags().BoolVar(&f.anyOwner, "any-owner", false, "also what another backupd has made under this host's name")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "show what would be copied, and copy nothing")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print one JSON document")
	completeFlag(c, std, "from", targetNames)
	completeFlag(c, std, "to", targetNames)
	return c
}

func (a *app) runSync(ctx context.Context, args []string, f syncFlags) (err error) {
	limits := gaps.Limits{AnyOwner: f.anyOwner, DryRun: f.dryRun}
	if limits.From, err = a.targetNamed(f.from); err != nil {
		return err
	}
	if limits.To, err = a.targetNamed(f.to); err != nil {
		return err
	}
	_, volumes, err := a.chosen(ctx, args)
	if err != nil {
		return err
	}
	copies, err := a.sync(ctx, volumes, limits)
	if f.asJSON {
		err = errors.Join(err, writeJSON(a.std.out, "copies", copyRows(copies, f.dryRun)))
	} else {
		err = errors.Join(err, printCopies(a.std, copies, f.dryRun))
	}
	return errors.Join(err, uncopied(copies))
}

// targetNamed gives the name if there is a target of it, and none for no name.
func (a *app) targetNamed(name string) ([]string, error) {
	if name == "" {
		return nil, nil
	}
	t, err := a.target(name)
	return []string{t.Name}, err
}

func (a *app) filler(log *slog.Logger) gaps.Filler {
	return gaps.Filler{Targets: a.targets, Pruner: a.pruner, Lock: a.locks.Hold, Log: log}
}

// sync fills the gaps of one volume after the other, and shows how far it is.
func (a *app) sync(ctx context.Context, volumes []plan.Volume, limits gaps.Limits) (all []gaps.Copy, err error) {
	filler := a.filler(a.log)
	filler.Lock = a.hold
	if !a.cfg.IsSet("BACKUPD_LOG_LEVEL") {
		filler.Log = slog.New(slog.DiscardHandler) // all of it is printed
	}
	bars := newBars(a.std.err)
	defer bars.done()
	filler.Progress = bars.update
	for _, v := range volumes {
		copies, err := filler.Fill(ctx, v, limits)
		all = append(all, copies...)
		if err != nil {
			return all, fmt.Errorf("fill the gaps of volume %q: %w", v.Name, err)
		}
		if err := a.filled(v.Name, copies, limits); err != nil {
			a.log.Warn("what was filled could not be remembered: the daemon will look for itself", "volume", v.Name, "err", err)
		}
	}
	return all, nil
}

// filled spares the daemon what has been done. Where not all was to be done, it is for the daemon to see what is left.
func (a *app) filled(volume string, copies []gaps.Copy, limits gaps.Limits) error {
	if limits.DryRun || len(limits.From) > 0 || len(limits.To) > 0 || len(a.ledger.View().Volumes[volume].Missed) == 0 {
		return nil
	}
	return a.ledger.Update(func(s *ledger.State) error {
		known := s.Volumes[volume]
		s.Fills(volume, gaps.Left(known.Missed, copies, limits), known.Fills, known.NextFill)
		return nil
	})
}

func copyRows(copies []gaps.Copy, dry bool) []copyRow {
	rows := make([]copyRow, len(copies))
	for i, c := range copies {
		rows[i] = copyRow{
			Volume: c.Volume, ID: c.Snapshot.ID, Target: c.Target, Source: c.Source, Bytes: c.Snapshot.StoredBytes(),
			Copied: c.Err == nil && !dry, Error: text(c.Err),
		}
		for _, err := range c.Spoiled {
			rows[i].Spoiled = append(rows[i].Spoiled, err.Error())
		}
	}
	return rows
}

func printCopies(std streams, copies []gaps.Copy, dry bool) error {
	if len(copies) == 0 {
		_, err := fmt.Fprintln(std.out, "no target misses a snapshot that it would keep")
		return err
	}
	verdict := map[bool]string{true: "to copy", false: "copied"}[dry]
	t := newTable(std.out, "SNAPSHOT", "VOLUME", "STORED", "FROM", "TO", "RESULT")
	for _, c := range copies {
		said := verdict
		if c.Err != nil {
			said = "FAILED"
		}
		t.row(orDash(string(c.Snapshot.ID)), c.Volume, short(c.Snapshot.StoredBytes()), orDash(c.Source), c.Target, said)
	}
	return t.flush()
}

// uncopied is the error of what could not be copied, and of damage that was met on the way.
func uncopied(copies []gaps.Copy) error {
	var errs []error
	failed, code := 0, exitFailed
	for _, c := range copies {
		for _, err := range c.Spoiled {
			errs = append(errs, ofVolume{c.Volume, err})
		}
		if c.Err == nil {
			continue
		}
		failed++
		if c.Source != "" || len(c.Spoiled) == 0 {
			errs = append(errs, ofVolume{c.Volume, fmt.Errorf("target %s: %w", c.Target, c.Err)})
		}
	}
	if failed < len(copies) {
		code = exitSome
	}
	err := errors.Join(errs...)
	if errors.Is(err, archive.ErrDamaged) {
		code = exitDamaged
	}
	if err == nil {
		return nil
	}
	return coded{err, code}
}
