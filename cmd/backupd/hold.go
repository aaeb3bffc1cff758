package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/config"
	"github.com/backupd/backupd/internal/guard"
	"github.com/backupd/backupd/internal/quiesce"
)

// guardCommand is how a guard is started; nobody types it.
const guardCommand = "guard"

// holds is the folder of the journals of holds.
func (a *app) holds() string { return filepath.Join(a.cfg.StateDir, "holds") }

// keeper makes holds, where there is anything to hold, by guards that outlive this process.
func (a *app) keeper(src source) backup.Keeper {
	if a.cfg.Source == config.Dir {
		return quiesce.New(src, quiesce.Options{Blind: true, Settle: a.settler(src), Log: a.log, Now: a.now})
	}
	return &guard.Keeper{
		Start:   a.startGuard,
		Recover: a.letGo,
		Log:     a.log,
	}
}

// startGuard starts a guard where the death of this process does not reach it: in a container, that is in another one.
func (a *app) startGuard() (*guard.Guard, error) {
	if a.self == "" {
		return guard.Process(guardCommand)
	}
	g, err := a.startSibling(context.Background())
	if err != nil {
		a.log.Warn("containers are guarded from inside of this container: should it be killed while it holds some, they wait until it runs again", "err", err)
		return guard.Process(guardCommand)
	}
	return g, nil
}

// scene is what there is to be held.
func (a *app) scene(ctx context.Context, src source) (quiesce.Scene, error) {
	containers, err := src.Containers(ctx)
	return quiesce.Scene{Containers: containers, Self: a.self, Door: quiesce.DoorAt(src.Address())}, err
}

// ownKeeper holds and lets go in this very process.
func (a *app) ownKeeper(ctx context.Context) (*quiesce.Keeper, error) {
	src, err := a.source(ctx)
	if err != nil {
		return nil, err
	}
	info, err := src.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the engine who it is: %w", err)
	}
	return quiesce.New(src, quiesce.Options{
		Dir: a.holds(), Engine: info.ID, Self: a.self, Door: quiesce.DoorAt(src.Address()), Settle: a.settler(src), Log: a.log, Now: a.now,
	}), nil
}

// recover puts in order what restores were exchanging that died, lets go of what dead processes have left held, and gives the names of the
// containers that it resumed. Without a journal of either it asks no engine.
func (a *app) recover(ctx context.Context) (resumed []string, err error) {
	unsettled := a.settlePending(ctx)
	pending, err := quiesce.Pending(a.holds())
	if err != nil || !pending {
		return nil, errors.Join(unsettled, err)
	}
	k, err := a.ownKeeper(ctx)
	if err != nil {
		return nil, errors.Join(unsettled, err)
	}
	resumed, err = k.Recover(ctx)
	return resumed, errors.Join(unsettled, err)
}

// letGo is recover, with a word in the log.
func (a *app) letGo(ctx context.Context) error {
	resumed, err := a.recover(ctx)
	if len(resumed) > 0 {
		a.log.Warn("containers run again that an earlier run had left held", "containers", resumed)
	}
	return err
}

// letGoUntilDone lets go in the background, over and over until it succeeds: an engine may come up later than this program does. The
// function that it gives ends that, and waits for it.
func (a *app) letGoUntilDone(ctx context.Context) (end func()) {
	const pause = 10 * time.Second
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		for told := ""; ; {
			err := a.letGo(ctx)
			if err == nil || ctx.Err() != nil {
				return
			}
			if told != err.Error() {
				told = err.Error()
				a.log.Error("containers that an earlier run had held may still not run; trying again", "err", err)
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

func newRecover(std streams) *cobra.Command {
	var before bool
	c := &cobra.Command{
		Use:     "recover",
		GroupID: "tidy",
		Short:   "Let go of whatever a dead daemon was still holding",
		Long: `Resume and start the containers that a backupd which was killed has left paused
or stopped, together with the process that guards them. A restore in place that
was killed in the middle of its exchange is brought to its end before. What a
living backupd holds stays held, and what somebody has resumed, removed or
replaced since is left alone, so it does no harm at any time. What a drill that
was killed has left is removed.

It runs by itself when the daemon starts, before each backup, and by the systemd
units. With nothing to let go it does not ask the engine at all.`,
		Example: `  backupd recover`,
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := newBareApp(std)
			if err != nil {
				return err
			}
			if before {
				return a.settleHere(c.Context())
			}
			resumed, err := a.recover(c.Context())
			for _, name := range resumed {
				_, printing := fmt.Fprintf(std.out, "container %s runs again\n", printable(name))
				err = errors.Join(err, printing)
			}
			return errors.Join(err, a.sweepDrills(c.Context()))
		},
	}
	c.Flags().BoolVar(&before, "before-engine", false, "only bring exchanges to their end, in folders of this host: at boot, before the engine starts what uses them")
	return c
}

func newGuard(std streams) *cobra.Command {
	var of, own string
	c := &cobra.Command{
		Use:    guardCommand,
		Short:  "Hold containers for another process of this program, which starts it",
		Hidden: true,
		Args:   noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			guard.Harden()
			ctx := context.WithoutCancel(c.Context()) // a signal may have come before
			a, err := newBareApp(std)
			if err != nil {
				return err
			}
			if own == "" {
				return a.guard(ctx)
			}
			a.self = of
			return a.guardInContainer(ctx, own)
		},
	}
	c.Flags().StringVar(&of, "of", "", "the container of whoever asks")
	c.Flags().StringVar(&own, "container", "", "the container that this guard has for itself, and removes in the end")
	return c
}

func (a *app) guard(ctx context.Context) error {
	k, err := a.ownKeeper(ctx)
	if err != nil {
		return err
	}
	return guard.Serve(ctx, os.Stdin, os.Stdout, k, a.log)
}
