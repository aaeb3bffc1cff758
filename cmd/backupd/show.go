package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/snapshot"
)

func newShow(std streams) *cobra.Command {
	c := &cobra.Command{
		Use:     "show SNAPSHOT",
		GroupID: "look",
		Short:   "Print the manifest of a snapshot, and what drills have shown",
		Long: `Print the manifest of a snapshot, as it is stored: JSON with its identity, the
moment that the data is of, how still it was held, sizes and digests, and what
it takes to make the volume again. What was found wrong with it when it was last
read back, and what drills have asked of it, is told beside that, on stderr.

SNAPSHOT is an id, or the beginning of one that is unique.`,
		Example:           `  backupd show 20261123T030000Z-5f0c2a9e`,
		Args:              oneArg("a snapshot"),
		ValidArgsFunction: complete(std, snapshotIDs, 1),
		RunE: withApp(std, func(ctx context.Context, a *app, args []string) error {
			found, err := a.find(ctx, args[0])
			if err != nil {
				return err
			}
			data, err := found[0].Manifest.Encode()
			if err != nil {
				return err
			}
			_, err = std.out.Write(data)
			printSuspicion(std, found[0].Manifest)
			for _, s := range found {
				printDamage(std, s)
			}
			return errors.Join(err, printDrills(ctx, std, found))
		}),
	}
	addHosts(c)
	return c
}

// printSuspicion tells that what a snapshot holds is not believed, or would not have been.
func printSuspicion(std streams, m snapshot.Manifest) {
	if m.Suspect != "" {
		fmt.Fprintf(std.err, "suspect, so that it does not count: %s\n", printable(m.Suspect))
	}
	if m.Accepted != "" {
		fmt.Fprintf(std.err, "accepted with what would have made it suspect: %s\n", printable(m.Accepted))
	}
}

// printDamage tells what was wrong with a snapshot when it was last read back.
func printDamage(std streams, s stored) {
	p := s.Proof
	if p.Damaged == "" {
		return
	}
	fmt.Fprintf(std.err, "DAMAGED on %s, as of %s: %s\n", s.target.Name, moment(p.At), printable(p.Damaged))
	for _, path := range p.Paths {
		fmt.Fprintf(std.err, "  hits %s\n", printable(path))
	}
	if more := p.Hits - int64(len(p.Paths)); more > 0 {
		fmt.Fprintf(std.err, "  and %d more\n", more)
	}
}
