package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/restore"
)

func newUndo(std streams) *cobra.Command {
	var again, commit bool
	c := &cobra.Command{
		Use:     "undo VOLUME",
		GroupID: "back",
		Short:   "Put back what the last restore in place replaced",
		Long: `Put back what VOLUME held before the last restore in place, or the last but one, and so
on. Every container that mounts it is stopped, the content is exchanged, and they
are started again; nothing is copied or fetched.

What was replaced is kept until the volume's next good backup, for as long as
BACKUPD_UNDO says, or until --commit. What undo takes out of the volume is kept
likewise, and --again puts that back.`,
		Example: `  backupd undo app
  backupd undo app --again
  backupd undo app --commit`,
		Args:              oneArg("a volume"),
		ValidArgsFunction: complete(std, storedVolumes, 1),
		PreRunE: func(*cobra.Command, []string) error {
			if again && commit {
				return usagef("--again puts something back, and --commit removes it: choose one")
			}
			return nil
		},
		RunE: withApp(std, func(ctx context.Context, a *app, args []string) error {
			return a.underLock(ctx, func() error {
				if commit {
					return a.commit(ctx, args[0])
				}
				return a.undo(ctx, args[0], again)
			}, args[0])
		}),
	}
	c.Flags().BoolVar(&again, "again", false, "put back what the last undo took out")
	c.Flags().BoolVar(&commit, "commit", false, "remove for good what restores in place, and undoing them, have replaced")
	return c
}

func (a *app) undo(ctx context.Context, volume string, again bool) error {
	src, err := a.source(ctx)
	if err != nil {
		return err
	}
	v, err := src.Volume(ctx, volume)
	if err != nil {
		return err
	}
	result, err := a.restorer(src).Undo(ctx, v, again)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.std.out, "volume %s holds again what it held before\n", printable(volume))
	a.tellDown(result)
	back := "backupd undo " + printable(volume)
	if !again {
		back += " --again"
	}
	fmt.Fprintf(a.std.out, "what was taken out is kept as well: %q puts it back\n", back)
	return unwell(result)
}

// commit removes all that was replaced.
func (a *app) commit(ctx context.Context, volume string) error {
	src, err := a.source(ctx)
	if err != nil {
		return err
	}
	known, err := a.exchanges().Of(volume)
	if errors.Is(err, fs.ErrNotExist) { // or forgotten, with the state directory
		known, err = restore.Exchange{Volume: volume}, nil
	}
	const ever = 100 * 365 * 24 * time.Hour // clocks differ
	if err == nil {
		err = a.keeping(src).Drop(ctx, known, a.now().Add(ever))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(a.std.out, "nothing is kept any more of what restores of volume %s have replaced\n", printable(volume))
	return nil
}
