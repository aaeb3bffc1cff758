package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/config"
	"github.com/backupd/backupd/internal/drill"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/snapshot"
)

// drillRow is a snapshot that was tried out, or was to be, in the output of drill.
type drillRow struct {
	snapshot.Drill
	Target string `json:"target,omitempty"`
	Proven bool   `json:"proven"`
	Stored bool   `json:"stored"`          // beside the manifest
	Error  string `json:"error,omitempty"` // why there is no verdict, or none that is stored
}

// drillFlags are what a drill is asked for besides the volumes.
type drillFlags struct {
	from, envFile string
	timeout       time.Duration
	memory        string
	asJSON        bool
}

func newDrill(std streams) *cobra.Command {
	var f drillFlags
	c := &cobra.Command{
		Use:     "drill [VOLUME[@WHEN]...]",
		GroupID: "back",
		Short:   "Try snapshots out: restore, start the database on them, ask it",
		Long: `Restore the newest good snapshot of each VOLUME (of all that have one, when none is
named; WHEN as for restore) into a scratch volume, start what the manifest
recorded on it, wait until it is well, and ask the database its own checks:
pg_amcheck and a query for PostgreSQL, CHECK TABLE for MariaDB and MySQL, the
checkers of Redis, PRAGMA integrity_check for SQLite; or instead the command of the
label backupd.drill.exec, whose exit code 0 is good. What came of it is told, and
stored beside the manifest.

The container is of the recorded image, which has to be in this engine: nothing is
pulled. It has the recorded command, and the values of environment variables that
the container of the same name or compose service has today, else those in the
file of --env-file or of the label backupd.drill.env-file; no network, no ports,
nothing mounted but the scratch volume, and bounded memory, processes and time.
Neither it nor the scratch volume outlives the drill; what one has left that was
killed goes with the next, when the daemon starts, and by "backupd recover".

The original containers and volumes are not touched.

Exit code 4 says that a snapshot failed, and thus is not what it should be. One
that could not be tried out, as an image or a setting is missing, says nothing of
the data: that is 1, or 3 when others could.`,
		Example: `  backupd drill
  backupd drill app
  backupd drill app@yesterday --timeout 1h --memory 4GiB`,
		ValidArgsFunction: complete(std, storedVolumes, 0),
		RunE: withApp(std, func(ctx context.Context, a *app, args []string) error {
			return a.drillAll(ctx, args, f)
		}),
	}
	fl := c.Flags()
	fl.StringVar(&f.from, "from", "", "take snapshots from `TARGET`, not from the first that has them")
	fl.StringVar(&f.envFile, "env-file", "", "`FILE` with lines of NAME=VALUE, for variables of which no container has the value today")
	fl.DurationVar(&f.timeout, "timeout", drill.DefaultTimeout, "longest time for one drill")
	fl.StringVar(&f.memory, "memory", "1GiB", "most `BYTES` that the container may use, unless it had less")
	fl.BoolVar(&f.asJSON, "json", false, "print one JSON document")
	addHost(c)
	return c
}

// settings are what the flags say.
func (f drillFlags) settings() (drill.Settings, error) {
	var memory config.Bytes
	if err := memory.UnmarshalText([]byte(f.memory)); err != nil {
		return drill.Settings{}, usagef("--memory: %w", err)
	}
	if f.timeout <= 0 {
		return drill.Settings{}, usagef("--timeout: %s is no time that a drill could be given", f.timeout)
	}
	return drill.Settings{EnvFile: f.envFile, Timeout: f.timeout, Memory: int64(memory)}, nil
}

// drillAll tries out snapshots of volumes, one after the other.
func (a *app) drillAll(ctx context.Context, args []string, f drillFlags) error {
	settings, err := f.settings()
	if err != nil {
		return err
	}
	src, err := a.source(ctx)
	if err != nil {
		return err
	}
	d, err := a.driller(src, settings)
	if err != nil {
		return err
	}
	if a.scope.host == "" || a.scope.host == a.host { // whose labels they are
		if d.enrolled, err = a.finder(src).Volumes(ctx); err != nil {
			return err
		}
	}
	rows, err := a.drillEach(ctx, d, args, f)
	if f.asJSON {
		err = errors.Join(err, writeJSON(a.std.out, "drills", rows))
	}
	return drilled(rows, err)
}

func (a *app) drillEach(ctx context.Context, d *driller, args []string, f drillFlags) (rows []drillRow, err error) {
	rows = []drillRow{}
	if len(args) == 0 {
		if args, err = a.withSnapshots(ctx); err != nil {
			return rows, err
		}
	}
	for _, arg := range args {
		row, err := a.drillOne(ctx, d, arg, f)
		if err != nil && exitCode(err) == exitUsage || ctx.Err() != nil {
			return rows, err
		}
		row.Error = text(err)
		rows = append(rows, row)
		if !f.asJSON {
			a.printDrilled(row)
		}
	}
	return rows, nil
}

// withSnapshots gives the volumes that have any.
func (a *app) withSnapshots(ctx context.Context) (volumes []string, err error) {
	all, err := a.snapshots(ctx, nil)
	if len(all) == 0 {
		return nil, cmp.Or(err, a.noSnapshots(nil))
	}
	if err != nil {
		a.log.Warn("not every snapshot could be looked at", "err", err)
	}
	for _, s := range all {
		volumes = append(volumes, s.Volume)
	}
	slices.Sort(volumes)
	return slices.Compact(volumes), nil
}

func (a *app) drillOne(ctx context.Context, d *driller, arg string, f drillFlags) (drillRow, error) {
	volume, when, err := a.parseWhen("volume", arg)
	if err != nil {
		return drillRow{}, err
	}
	chosen, err := a.choose(ctx, volume, when, f.from)
	if err != nil {
		return drillRow{Drill: snapshot.Drill{Host: cmp.Or(a.scope.host, a.host), Volume: volume}}, err
	}
	fmt.Fprintf(a.std.err, "trying out %s of volume %s, taken %s (%s), from %s\n", chosen.ID, a.volumeName(chosen.Host, chosen.Volume),
		ago(chosen.Taken, a.now()), size(chosen.Contents.Bytes), chosen.target.Name)
	settings := d.settings
	if i := slices.IndexFunc(d.enrolled, func(v plan.Volume) bool { return v.Name == volume }); i >= 0 {
		settings = labelled(settings, d.enrolled[i])
	}
	return d.try(ctx, chosen, settings)
}

// printDrilled tells of one drill in words.
func (a *app) printDrilled(row drillRow) {
	verdict := "proven"
	switch {
	case row.Failed != "":
		verdict = "FAILED"
	case !row.Proven:
		verdict = "NOT TRIED"
	}
	fmt.Fprintf(a.std.out, "%s  %s  of %s", verdict, orDash(string(row.ID)), a.volumeName(row.Host, row.Volume))
	if row.Proven || row.Failed != "" {
		fmt.Fprintf(a.std.out, " on %s: %s restored in %s", row.Target, size(row.Bytes), milliseconds(row.RestoreMS))
	}
	if len(row.Started) > 0 && row.ReadyMS > 0 {
		fmt.Fprintf(a.std.out, ", %s well after another %s", printable(strings.Join(row.Started, ", ")), milliseconds(row.ReadyMS))
	}
	fmt.Fprintln(a.std.out)
	for _, c := range row.Checks {
		answer := "good"
		switch {
		case c.Failed != "":
			answer = "NOT GOOD" // and why is in the verdict below
		case c.Answer != "":
			answer += ": " + c.Answer
		}
		fmt.Fprintf(a.std.out, "  %s: %s: %s\n", printable(c.Of), printable(c.Asked), printable(answer))
	}
	if row.Failed != "" {
		fmt.Fprintf(a.std.out, "  %s\n", printable(row.Failed))
	}
	if row.Error != "" {
		fmt.Fprintf(a.std.out, "  %s\n", printable(row.Error))
	}
}

func milliseconds(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	if d >= 10*time.Second {
		return d.Round(time.Second).String()
	}
	return d.String()
}

// drilled is the error of what came of all drills.
func drilled(rows []drillRow, err error) error {
	if err != nil {
		return err
	}
	var bad, untried, unstored []string
	for _, r := range rows {
		switch {
		case r.Failed != "":
			bad = append(bad, fmt.Sprintf("%s of %q", r.ID, r.Volume))
		case !r.Proven:
			untried = append(untried, fmt.Sprintf("%q", r.Volume))
		case r.Error != "":
			unstored = append(unstored, fmt.Sprintf("%s of %q", r.ID, r.Volume))
		}
	}
	errs, code := []error{}, exitFailed
	if len(untried)+len(unstored) < len(rows) {
		code = exitSome
	}
	if len(untried) > 0 {
		errs = append(errs, fmt.Errorf("not tried out: %s", strings.Join(untried, ", ")))
	}
	if len(unstored) > 0 {
		errs = append(errs, fmt.Errorf("proven, and not recorded: %s", strings.Join(unstored, ", ")))
	}
	if len(bad) > 0 {
		errs, code = append(errs, fmt.Errorf("failed: %s", strings.Join(bad, ", "))), exitDamaged
	}
	if err := errors.Join(errs...); err != nil {
		return coded{err, code}
	}
	return nil
}
