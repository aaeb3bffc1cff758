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

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/restore"
)

func newRestore(std streams) *cobra.Command {
	var f restoreFlags
	c := &cobra.Command{
		Use:     "restore [VOLUME[@WHEN] | --project NAME[@WHEN]]",
		GroupID: "back",
		Short:   "Give a volume back",
		Long: `Restore a snapshot of VOLUME: the newest good one, or the one that WHEN means.

WHEN is "latest", a snapshot id or its beginning, or a time: a moment
(2026-11-20T14:00), a day (2026-11-20, yesterday) or an age (2h, 3d). A time
means the newest good snapshot that is not after it.

  --to-volume NAME   into a volume, which is made with the driver, options and
                     labels that VOLUME had; one that exists must be empty, and
                     in use by no running container
  --to-dir DIR       into a folder, which is made if need be and must be empty
  --in-place         instead of what VOLUME holds now: once all is fetched and
                     checked, every container that mounts it is stopped, the
                     content is exchanged, and they are started again. What was
                     there is kept for "backupd undo". With --path what matches
                     goes among what is there, in place of files of the same name

  --project NAME     all volumes of a compose project, each under its own name,
                     made anew or empty, so that "docker compose up" finds them
                     as they were. They go back to the newest moment that they
                     have in common; where they were not held together, to those
                     that are nearest to each other, and it says how far apart
                     these are. One that fails stops no other, and leaves nothing.

  --dry-run          lists what would change against what is there: + is new,
                     - would be gone, and ~ would change in what is named. That
                     goes by the index of the snapshot and the sizes, times,
                     permissions and owners of what is there. No data is read: a
                     file that was changed within the same size and time passes
                     for the same, and damage is for "backupd verify" to find

On a terminal, and without any of these, it asks: which volume, which snapshot and
where to, says what it will do, and waits for a yes.

With --host it is the snapshot of another host that shares the targets, and what
is restored to is on this one.

Every byte is checked against the digests that the manifest vouches for, and
nothing is overwritten before that.`,
		Example: `  backupd restore
  backupd restore app --to-volume app
  backupd restore app@2h --in-place
  backupd restore app@2026-11-20T14:00 --to-dir /tmp/app --path 'etc/**'

  backupd restore app --host web2 --to-volume app
  backupd restore --project shop
  backupd restore --project shop@yesterday --host web2 --dry-run

  # in an init service of a compose file: fill the volume if it is a fresh one
  backupd restore app --to-volume app --if-empty`,
		Args:              func(c *cobra.Command, args []string) error { return f.args(c, std, args) },
		ValidArgsFunction: complete(std, storedVolumes, 1),
		PreRunE: func(_ *cobra.Command, args []string) error {
			if _, ok := f.asking(std, args); ok {
				return nil
			}
			return f.check()
		},
		RunE: withApp(std, func(ctx context.Context, a *app, args []string) error {
			if f.project != "" {
				return a.restoreProject(ctx, f)
			}
			if d, ok := f.asking(std, args); ok {
				return a.restoreAsking(ctx, d, f)
			}
			return a.restore(ctx, args[0], f)
		}),
	}
	fl := c.Flags()
	fl.StringVar(&f.project, "project", "", "restore all volumes of the compose project `NAME`")
	fl.StringVar(&f.toVolume, "to-volume", "", "restore into the volume `NAME`")
	fl.StringVar(&f.toDir, "to-dir", "", "restore into the folder `DIR`")
	fl.BoolVar(&f.inPlace, "in-place", false, "replace what the volume holds")
	fl.BoolVar(&f.commit, "commit", false, "with --in-place: keep nothing of what was replaced for \"backupd undo\"")
	fl.BoolVar(&f.undoIfUnhealthy, "undo-if-unhealthy", false, "with --in-place: put all back when what uses the volume is not well afterwards")
	fl.StringVar(&f.from, "from", "", "take the snapshot from `TARGET`, not from the first that has it")
	fl.StringArrayVar(&f.paths, "path", nil, "only what matches `GLOB`, with ** for any depth; may be repeated")
	fl.StringArrayVar(&f.options, "option", nil, "`NAME=VALUE` of the driver, for a volume that is made; may be repeated")
	fl.BoolVar(&f.ifEmpty, "if-empty", false, "do nothing, successfully, when the destination is not empty")
	fl.BoolVar(&f.keepGoing, "keep-going", false, "with --to-dir: restore what can be read of a damaged snapshot, and name what is hit")
	fl.BoolVar(&f.dryRun, "dry-run", false, "list what would change against what is there, and write nothing")
	fl.BoolVar(&f.asJSON, "json", false, "with --dry-run: print one JSON document")
	addHost(c)
	completeFlag(c, std, "project", projectNames)
	completeFlag(c, std, "from", targetNames)
	return c
}

func (a *app) restore(ctx context.Context, arg string, f restoreFlags) error {
	volume, when, err := a.parseWhen("volume", arg)
	if err != nil {
		return err
	}
	locked := []string{volume}
	if f.toVolume != "" {
		locked = append(locked, f.toVolume)
	}
	return a.underLock(ctx, func() error {
		chosen, err := a.choose(ctx, volume, when, f.from)
		if err != nil {
			return err
		}
		req := request(chosen, f)
		if f.dryRun {
			return a.restoreDry(ctx, chosen, req, f)
		}
		return a.restoreFor(ctx, chosen, req, f)
	}, locked...)
}

func request(chosen stored, f restoreFlags) restore.Request {
	return restore.Request{Snapshot: chosen.Manifest, From: chosen.target.Catalog, Paths: f.paths, IfEmpty: f.ifEmpty}
}

// parseWhen reads NAME or NAME@WHEN.
func (a *app) parseWhen(what, arg string) (name string, when catalog.When, err error) {
	name, text := arg, ""
	if at := strings.LastIndexByte(arg, '@'); at >= 0 {
		name, text = arg[:at], arg[at+1:]
	}
	if name == "" {
		return "", when, usagef("%q names no %s: write NAME or NAME@WHEN", arg, what)
	}
	when, err = catalog.ParseWhen(text, a.now(), time.Local)
	return name, when, usage(err)
}

// only leaves one target to choose from, if one is named.
func (a *app) only(from string) error {
	if from == "" {
		return nil
	}
	t, err := a.target(from)
	if err == nil {
		a.targets = []backup.Target{t}
	}
	return err
}

// choose gives the snapshot that is meant, from the first target that has it, and where it counts if it does anywhere.
func (a *app) choose(ctx context.Context, volume string, when catalog.When, from string) (stored, error) {
	if err := a.only(from); err != nil {
		return stored{}, err
	}
	all, listErr := a.snapshots(ctx, []string{volume})
	picked, err := pick(all, when)
	if err != nil {
		return stored{}, errors.Join(fmt.Errorf("volume %q on %s: %w", volume, a.hosts(), err), listErr)
	}
	if listErr != nil {
		a.log.Warn("not every snapshot could be looked at", "err", listErr)
	}
	return picked, nil
}

// pick gives the snapshot of a volume that is meant, from the first target that has it and where it counts if it does anywhere.
func pick(all []stored, when catalog.When) (stored, error) {
	plain := make([]catalog.Snapshot, len(all))
	for i, s := range all {
		plain[i] = s.Snapshot
	}
	picked, err := when.Pick(plain)
	if err != nil {
		return stored{}, err
	}
	i := slices.IndexFunc(all, func(s stored) bool { return s.Ref() == picked.Ref() && s.Good() == picked.Good() })
	return all[i], nil
}

// restoreFor restores for real, and says what came of it.
func (a *app) restoreFor(ctx context.Context, chosen stored, req restore.Request, f restoreFlags) error {
	var src source
	if f.toDir == "" {
		var err error
		if src, err = a.source(ctx); err != nil {
			return err
		}
	}
	r := a.restorer(src)
	bars := newBars(a.std.err)
	r.Progress = func(written, expected int64) { bars.update(chosen.Volume, written, expected) }
	fmt.Fprintf(a.std.err, "restoring %s of volume %s, taken %s (%s, %s), from %s\n", chosen.ID, a.volumeName(chosen.Host, chosen.Volume),
		ago(chosen.Taken, a.now()), size(chosen.Contents.Bytes), graded(chosen.Manifest), chosen.target.Name)
	result, where, err := a.deliver(ctx, r, src, req, f, chosen.Volume)
	bars.done()
	if err != nil && result.Report.Entries == 0 {
		return err
	}
	if result.Left {
		fmt.Fprintf(a.std.out, "%s is not empty, and was left alone\n", where)
		return nil
	}
	fmt.Fprintf(a.std.out, "restored %s to %s: %d entries, %s\n", chosen.ID, where, result.Report.Entries, size(result.Report.Bytes))
	a.tellDown(result)
	a.tellLosses(result.Report)
	if result.Kept != "" && !result.Undone {
		fmt.Fprintln(a.std.out, a.undoable(printable(chosen.Volume)))
	}
	if err == nil {
		err = unwell(result)
	}
	return err
}

// tellDown says what was stopped, and for how long.
func (a *app) tellDown(result restore.Result) {
	for _, h := range result.Held.Held {
		kind := "container"
		if h.Service {
			kind = "service"
		}
		fmt.Fprintf(a.std.out, "%s %s was down for %s\n", kind, printable(h.Container), held(h.Milliseconds))
	}
}

// unwell is the error of what is not well on the data that it was given.
func unwell(result restore.Result) error {
	if len(result.Unhealthy) == 0 {
		return nil
	}
	return fmt.Errorf("the data is there, and what uses it is not well: %s", strings.Join(result.Unhealthy, "; "))
}

// deliver restores to where the flags say.
func (a *app) deliver(ctx context.Context, r *restore.Runner, src source, req restore.Request, f restoreFlags, volume string) (restore.Result, string, error) {
	switch {
	case f.keepGoing:
		result, err := r.Salvage(ctx, req, f.toDir)
		return result, "folder " + f.toDir, err
	case f.toDir != "":
		result, err := r.ToDir(ctx, req, f.toDir)
		return result, "folder " + f.toDir, err
	case f.toVolume != "":
		options, err := f.driverOptions()
		if err != nil {
			return restore.Result{}, "", err
		}
		result, err := r.ToVolume(ctx, req, f.toVolume, options)
		return result, "volume " + printable(f.toVolume), err
	}
	v, err := src.Volume(ctx, volume)
	if err != nil {
		return restore.Result{}, "", notThere(volume, err)
	}
	result, err := r.InPlace(ctx, req, v, restore.After{Commit: f.commit || a.cfg.Undo == 0, UndoIfUnhealthy: f.undoIfUnhealthy})
	return result, "volume " + printable(volume) + " in place", err
}

// tellLosses names what is not as it was: for want of privilege, which is no failure, or because the archive is damaged.
func (a *app) tellLosses(report archive.Report) {
	tell := func(how string, all []archive.Skipped, total int64) {
		for _, s := range all {
			fmt.Fprintf(a.std.err, "%s: %s: %s\n", how, printable(cmp.Or(s.Path, "(unknown)")), printable(s.What))
		}
		if more := total - int64(len(all)); more > 0 {
			fmt.Fprintf(a.std.err, "%s: and %d more\n", how, more)
		}
	}
	tell("not as it was", report.Skipped, report.SkippedTotal)
	tell("damaged", report.Damaged, report.DamagedTotal)
}
