package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/access"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/daemon"
	"github.com/backupd/backupd/internal/drill"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/sqlite"
)

// driller tries out this host's snapshots, and stores what comes of it.
type driller struct {
	*app
	source   source
	runner   *drill.Runner
	settings drill.Settings
	enrolled []plan.Volume // whose labels are known
	unseen   bool          // nobody watches
}

func (a *app) driller(src source, settings drill.Settings) (*driller, error) {
	eng, ok := src.(drill.Engine)
	if !ok {
		return nil, usagef("drills need an engine that can start containers, which BACKUPD_SOURCE=dir has not: backupd verify reads snapshots back")
	}
	return &driller{app: a, source: src, settings: settings, runner: &drill.Runner{
		Engine: eng, Dir: a.drills(), Owner: a.ledger.Owner(), Program: "backupd " + version, ReadFile: os.ReadFile, Now: a.now, Entropy: rand.Reader, Log: a.log,
		Checker: checker{a.opener(src)},
	}}, nil
}

// checker asks files by this same program.
type checker struct{ opener }

// askSQLite is the command of this program that does; nobody types it.
const askSQLite = "ask-sqlite"

func (c checker) SQLite(ctx context.Context, file string) (engine.Trial, error) {
	through, ok := c.opener.(*access.Access)
	if !ok {
		return engine.Trial{}, errors.New("the source is no engine")
	}
	image, err := through.Image(ctx)
	return engine.Trial{Image: image, Setup: engine.Setup{Entrypoint: []string{access.ProgramPath, askSQLite}, Command: []string{file}, User: "0"}}, err
}

func newAskSQLite(std streams) *cobra.Command {
	return &cobra.Command{
		Use:    askSQLite + " FILE",
		Short:  "Ask a SQLite file whether it is sound, in a container of a drill",
		Hidden: true,
		Args:   oneArg("a file"),
		RunE: func(c *cobra.Command, args []string) error {
			words, err := sqlite.Check(c.Context(), args[0])
			if errors.Is(err, sqlite.ErrDamaged) {
				return coded{err, drill.Damaged}
			}
			if err == nil {
				_, err = fmt.Fprintln(std.out, words)
			}
			return err
		},
	}
}

// unseenDriller tries out what the daemon has due, for which there is more time than somebody would wait; nil where nothing can be started.
func (a *app) unseenDriller(src source) daemon.Driller {
	const patience = 2 * time.Hour
	d, err := a.driller(src, drill.Settings{Timeout: patience, Memory: drill.DefaultMemory})
	if err != nil { // the source is no engine
		return nil
	}
	d.unseen = true
	return d
}

// bars show how far restoring is, where somebody waits for it.
func (d *driller) bars() *bars {
	if d.unseen {
		return &bars{}
	}
	return newBars(d.std.err)
}

// Drill tries out the newest good snapshot of a volume, as its labels say.
func (d *driller) Drill(ctx context.Context, v plan.Volume) (snapshot.Drill, error) {
	chosen, err := d.choose(ctx, v.Name, catalog.When{}, "")
	if err != nil {
		return snapshot.Drill{}, err
	}
	row, err := d.try(ctx, chosen, labelled(d.settings, v))
	return row.Drill, err
}

// labelled adds what a volume's labels say.
func labelled(s drill.Settings, v plan.Volume) drill.Settings {
	s.EnvFile, s.Exec = cmp.Or(s.EnvFile, v.DrillEnv.Value), v.DrillExec.Value
	return s
}

// drills is the folder of the journals of drills.
func (a *app) drills() string { return filepath.Join(a.cfg.StateDir, "drills") }

// try tries out one snapshot, and stores the verdict.
func (d *driller) try(ctx context.Context, chosen stored, settings drill.Settings) (drillRow, error) {
	from := drill.Stored{Catalog: chosen.target.Catalog, Restore: d.restorer(d.source), Locks: d.locks}
	bars := d.bars()
	from.Restore.Progress = func(written, expected int64) { bars.update(chosen.Volume, written, expected) }
	d.runner.Progress = func(step string) {
		bars.done()
		if !d.unseen {
			fmt.Fprintf(d.std.err, "  %s\n", printable(step))
		}
	}
	came, err := d.runner.Drill(ctx, drill.Request{Snapshot: chosen.Manifest, From: from, Settings: settings})
	bars.done()
	row := drillRow{Drill: came, Target: chosen.target.Name}
	if err != nil {
		row.Host, row.Volume, row.ID = chosen.Host, chosen.Volume, chosen.ID
		return row, err
	}
	row.Proven = came.Proven()
	if chosen.Host != d.host { // which alone writes beside its snapshots
		return row, nil
	}
	err = d.recordDrill(ctx, chosen, came)
	row.Stored = err == nil
	return row, err
}

// sweepDrills removes what drills have left that were killed. Without a journal it asks no engine.
func (a *app) sweepDrills(ctx context.Context) error {
	if pending, err := drill.Pending(a.drills()); err != nil || !pending {
		return err
	}
	if a.ledger == nil {
		if err := a.open(ctx); err != nil {
			return err
		}
	}
	src, err := a.source(ctx)
	if err != nil {
		return err
	}
	d, err := a.driller(src, drill.Settings{})
	if err != nil {
		return err
	}
	return d.runner.Sweep(ctx)
}
