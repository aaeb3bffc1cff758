package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/access"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/folder"
	"github.com/backupd/backupd/internal/remote"
)

// ownProgram is the program that runs, whatever has taken its file's place since.
const ownProgram = "/proc/self/exe"

// sweepHelpers removes what helpers of killed processes have left. It is no reason not to go on when that fails: nothing is held by them.
func (a *app) sweepHelpers(ctx context.Context, src source) {
	if eng, ok := src.(access.Engine); ok {
		if err := a.access(eng).Sweep(ctx); err != nil {
			a.log.Warn("helper containers of an earlier run may be left", "err", err)
		}
	}
}

func newHelper(std streams) *cobra.Command {
	return &cobra.Command{
		Use:    "helper",
		Short:  "Read or write the volume of a helper container for another process of this program, which starts it",
		Hidden: true,
		Args:   noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			boundMemory(1, 0)
			return remote.Serve(c.Context(), std.in, std.out, folder.At(engine.HelperFolder, false), time.Now)
		},
	}
}
