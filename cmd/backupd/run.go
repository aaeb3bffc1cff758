package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/daemon"
	"github.com/backupd/backupd/internal/durable"
)

// daemonLock is the file in the state directory that a daemon has locked for as long as it runs.
const daemonLock = "daemon.lock"

func newRun(std streams) *cobra.Command {
	return &cobra.Command{
		Use:     "run",
		GroupID: "make",
		Short:   "Keep volumes backed up: the daemon",
		Long: `Find enrolled volumes, follow the engine, and back each volume up on its
schedule, until a signal ends it.

A run that was missed while the daemon was down is made up once; one that failed
is tried again a few times, with growing pauses. A target that missed a snapshot
which another one has is filled from that; nothing is read again. What is stored
is read back and checked on a schedule of its own (BACKUPD_VERIFY), and tried out
on another one (BACKUPD_DRILL, backupd.drill), beside and after backups. The first SIGTERM or Ctrl-C lets go of containers and abandons uploads cleanly; a second ends at once.

There is one daemon for a state directory (BACKUPD_STATE_DIR). Other commands may
be used while it runs.`,
		Example: `  backupd run
  BACKUPD_SCHEDULE="H 3 * * *" BACKUPD_TARGETS=nas=file:///mnt/nas backupd run`,
		Args: noArgs,
		RunE: withApp(std, func(ctx context.Context, a *app, _ []string) (err error) {
			lock, err := durable.TryLock(filepath.Join(a.cfg.StateDir, daemonLock))
			if errors.Is(err, durable.ErrLocked) {
				return fmt.Errorf("another daemon works with the state directory %s: %w", a.cfg.StateDir, err)
			}
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, lock.Unlock()) }()
			letGo := a.letGoUntilDone(ctx)
			defer letGo()
			src, err := a.source(ctx)
			if err != nil {
				return err
			}
			runner, err := a.runner(src)
			if err != nil {
				return err
			}
			a.sweepHelpers(ctx, src)
			if err := a.sweepDrills(ctx); err != nil {
				a.log.Warn("what a killed drill has left could not all be removed", "err", err)
			}
			a.log.Info("daemon started", "version", version, "host", a.host, "state", a.cfg.StateDir)
			defer a.log.Info("daemon stopped")
			return daemon.New(daemon.Options{
				Runner: tidying{runner, func(ctx context.Context, results []backup.Result) { a.dropReplaced(ctx, src, results) }},
				Finder: a.finder(src), Watcher: src, Filler: a.filler(a.log), Verifier: a.verifier(), Ledger: a.ledger, Host: a.host,
				Zone: time.Local, Parallel: a.cfg.Parallel, Now: a.now, Log: a.log, AnyTarget: a.anyTarget(), Verify: a.cfg.Verify.Spec,
				Driller: a.unseenDriller(src),
			}).Run(ctx)
		}),
	}
}
