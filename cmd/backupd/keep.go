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
		RunE: withApp(std, func(ctx context.Context, a *app, args []string) error {
			return a.eachSnapshot(ctx, args, "pinned", func(ctx context.Context, s stored) error {
				return s.target.Catalog.Pin(ctx, s.Ref())
			})
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
		RunE: withApp(std, func(ctx context.Context, a *app, args []string) error {
			return a.eachSnapshot(ctx, args, "unpinned", func(ctx context.Context, s stored) error {
				return s.target.Catalog.Unpin(ctx, s.Ref())
			})
		}),
	}
}

func newRemove(std streams) *cobra.Command {
	var from string
	c := &cobra.Command{
		Use:     "rm SNAPSHOT...",
		GroupID: "tidy",
		Short:   "Remove snapshots by hand, from every target",
		Long: `Remove snapshots by hand, from every target that has them, or from one: a copy
that is damaged there comes back by "backupd sync", from a target that has it sound.
A pinned snapshot is refused.

This is the one command that removes what retention would keep, the last good
snapshot too. Later snapshots that lean on it stay whole: what they need of its
archive stays with them.`,
		Example: `  backupd rm 20261123T030000Z-5f0c2a9e
  backupd rm --from offsite 20261123T030000Z-5f0c2a9e`,
		Args:              someArgs(1, "a snapshot"),
		ValidArgsFunction: complete(std, snapshotIDs, 0),
		RunE: withApp(std, func(ctx context.Context, a *app, args []string) error {
			if err := a.only(from); err != nil {
				return err
			}
			return a.eachSnapshot(ctx, args, "removed", a.remove)
		}),
	}
	c.Flags().StringVar(&from, "from", "", "only from this target")
	completeFlag(c, std, "from", targetNames)
	return c
}

// remove removes a snapshot from a target, says for whom its archive stays, and has it forgotten what was found in it.
func (a *app) remove(ctx context.Context, s stored) error {
	if s.Pinned {
		return fmt.Errorf("snapshot %s is pinned: unpin it first", s.ID)
	}
	l, err := s.target.Catalog.Volume(ctx, s.Volume)
	if err == nil {
		err = s.target.Catalog.Remove(ctx, s.Ref())
	}
	if err != nil {
		return err
	}
	if needed := l.Leaning(s.ID); len(needed) > 0 && s.StoredBytes() > 0 {
		fmt.Fprintf(a.std.out, "archive %s on %s %s\n", s.ID, s.target.Name, stayRow{s.ID, needed})
	}
	if err := a.verifier().Forget(ctx, s.target, s.Volume); err != nil {
		a.log.Warn("what was found in a snapshot that is gone is remembered for now", "snapshot", s.ID, "target", s.target.Name, "err", err)
	}
	return nil
}

// eachSnapshot does something to each named snapshot on every target that has it, under the lock of its volume. All are looked up
// before anything is done.
func (a *app) eachSnapshot(ctx context.Context, names []string, done string, do func(ctx context.Context, s stored) error) error {
	var chosen [][]stored
	for _, name := range names {
		found, err := a.find(ctx, name)
		if err != nil {
			return err
		}
		chosen = append(chosen, found)
	}
	var errs []error
	for _, copies := range chosen {
		errs = append(errs, a.underLock(ctx, func() error { return a.eachCopy(ctx, copies, done, do) }, copies[0].Volume))
	}
	return errors.Join(errs...)
}

func (a *app) eachCopy(ctx context.Context, copies []stored, done string, do func(ctx context.Context, s stored) error) error {
	var errs []error
	for _, s := range copies {
		if err := do(ctx, s); err != nil {
			errs = append(errs, fmt.Errorf("target %s: %w", s.target.Name, err))
			continue
		}
		fmt.Fprintf(a.std.out, "%s %s of volume %s on %s\n", done, s.ID, printable(s.Volume), s.target.Name)
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
