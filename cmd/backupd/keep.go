package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newPin(std streams) *cobra.Command {
	return &cobra.Command{
		Use:     "pin SNAPSHOT...",
		GroupID: "tidy",
		Short:   "Keep snapshots whatever retention says",
		Long: `Keep snapshots whatever retention says, until they are unpinned. The pin lies
beside the snapshot on every target that has it.

SNAPSHOT is an id, or the beginning of one that is unique.`,
		Example:           `  backupd pin 20261123T030000Z-5f0c2a9e`,
		Args:              someArgs(1, "a snapshot"),
		ValidArgsFunction: complete(std, snapshotIDs, 0),
		RunE: eachSnapshot(std, "pinned", func(ctx context.Context, s stored) error {
			return s.target.Catalog.Pin(ctx, s.Ref())
		}),
	}
}

func newUnpin(std streams) *cobra.Command {
	return &cobra.Command{
		Use:     "unpin SNAPSHOT...",
		GroupID: "tidy",
		Short:   "Leave snapshots to retention again",
		Long: `Leave pinned snapshots to retention again. The next backup or "backupd prune" may
then remove them: "backupd prune --dry-run" tells.`,
		Example:           `  backupd unpin 20261123T030000Z-5f0c2a9e`,
		Args:              someArgs(1, "a snapshot"),
		ValidArgsFunction: complete(std, snapshotIDs, 0),
		RunE: eachSnapshot(std, "unpinned", func(ctx context.Context, s stored) error {
			return s.target.Catalog.Unpin(ctx, s.Ref())
		}),
	}
}

func newRemove(std streams) *cobra.Command {
	return &cobra.Command{
		Use:     "rm SNAPSHOT...",
		GroupID: "tidy",
		Short:   "Remove snapshots by hand, from every target",
		Long: `Remove snapshots by hand, from every target that has them. A pinned snapshot is
refused.

This is the one command that removes what retention would keep, the last good
snapshot too. Later snapshots that lean on it stay whole: what they need of its
archive stays with them.`,
		Example:           `  backupd rm 20261123T030000Z-5f0c2a9e`,
		Args:              someArgs(1, "a snapshot"),
		ValidArgsFunction: complete(std, snapshotIDs, 0),
		RunE: eachSnapshot(std, "removed", func(ctx context.Context, s stored) error {
			if s.Pinned {
				return fmt.Errorf("snapshot %s is pinned: unpin it first", s.ID)
			}
			return removeStored(ctx, std, s)
		}),
	}
}

// removeStored removes a snapshot from a target, and says for whom its archive stays.
func removeStored(ctx context.Context, std streams, s stored) error {
	l, err := s.target.Catalog.Volume(ctx, s.Volume)
	if err == nil {
		err = s.target.Catalog.Remove(ctx, s.Ref())
	}
	if err != nil {
		return err
	}
	if needed := l.Leaning(s.ID); len(needed) > 0 && s.StoredBytes() > 0 {
		fmt.Fprintf(std.out, "archive %s on %s %s\n", s.ID, s.target.Name, stayRow{s.ID, needed})
	}
	return nil
}

// eachSnapshot does something to each named snapshot on every target that has it, under the lock of its volume. All are looked up
// before anything is done.
func eachSnapshot(std streams, done string, do func(ctx context.Context, s stored) error) func(*cobra.Command, []string) error {
	return withApp(std, func(ctx context.Context, a *app, args []string) error {
		var chosen [][]stored
		for _, arg := range args {
			found, err := a.find(ctx, arg)
			if err != nil {
				return err
			}
			chosen = append(chosen, found)
		}
		var errs []error
		for _, copies := range chosen {
			errs = append(errs, a.underLock(ctx, func() error {
				return a.eachCopy(ctx, std, copies, done, do)
			}, copies[0].Volume))
		}
		return errors.Join(errs...)
	})
}

func (a *app) eachCopy(ctx context.Context, std streams, copies []stored, done string, do func(ctx context.Context, s stored) error) error {
	var errs []error
	for _, s := range copies {
		if err := do(ctx, s); err != nil {
			errs = append(errs, fmt.Errorf("target %s: %w", s.target.Name, err))
			continue
		}
		fmt.Fprintf(std.out, "%s %s of volume %s on %s\n", done, s.ID, printable(s.Volume), s.target.Name)
	}
	return errors.Join(errs...)
}

// underLock does something while the volumes' locks are held.
func (a *app) underLock(ctx context.Context, do func() error, volumes ...string) (err error) {
	release, err := a.hold(ctx, volumes...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	return do()
}

// hold takes the volumes' locks. Waiting for somebody else who has one may take long, and is told.
func (a *app) hold(ctx context.Context, volumes ...string) (release func() error, err error) {
	const patience = 2 * time.Second
	told := time.AfterFunc(patience, func() {
		fmt.Fprintf(a.std.err, "waiting for another run that works on %s\n", printable(strings.Join(volumes, ", ")))
	})
	defer told.Stop()
	return a.locks.Hold(ctx, volumes...)
}
