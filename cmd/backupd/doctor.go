package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/config"
	"github.com/backupd/backupd/internal/doctor"
	"github.com/backupd/backupd/internal/durable"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/quiesce"
)

func newDoctor(std streams) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "doctor",
		GroupID: "look",
		Short:   "Check all that backups depend on, and say how to mend it",
		Long: `Check the engine, the enrolled volumes, each target, clocks, space, keys and what
is known of the snapshots, and say of each thing that is wrong how to mend it.

On each target a small object is put, read back whole and in part, listed and
removed, as a run will do with archives: so a permission that is missing is told
now and by name. Nothing else is changed. It does not read snapshots back: that is
for "backupd verify".

Exit code 1 says that something failed; with warnings alone it is 0.`,
		Example: `  backupd doctor
  BACKUPD_AGE_IDENTITY=/media/usb/backupd.key backupd doctor`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := newBareApp(std)
			if err != nil {
				return err
			}
			return a.doctor(c.Context(), asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return c
}

func (a *app) doctor(ctx context.Context, asJSON bool) error {
	findings := []doctor.Finding{}
	failures := 0
	doctor.Examine(ctx, a.checks(ctx), func(f doctor.Finding) {
		findings = append(findings, f)
		if f.Level == doctor.Fail {
			failures++
		}
		if !asJSON {
			printFinding(a.std, f)
		}
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if asJSON {
		if err := writeJSON(a.std.out, "findings", findings); err != nil {
			return err
		}
	}
	if failures > 0 {
		return fmt.Errorf("%d of the things that were looked at failed", failures)
	}
	return nil
}

// printFinding has the words that matter at the left, and goes on below them.
func printFinding(std streams, f doctor.Finding) {
	const indent, width = 6, 80
	word := map[doctor.Level]string{doctor.OK: "ok", doctor.Note: "note", doctor.Warn: "WARN", doctor.Fail: "FAIL"}[f.Level]
	text := strings.TrimLeft(indented(printable(f.Check+": "+strings.ReplaceAll(f.Text, "\n", "; ")), indent, width), " ")
	fmt.Fprintf(std.out, "%-4s  %s", word, text)
	if f.Mend != "" {
		fmt.Fprint(std.out, indented(printable("-> "+f.Mend), indent, width))
	}
}

// checks are made of what there is: what cannot be opened is itself a finding.
func (a *app) checks(ctx context.Context) []doctor.Check {
	src, noSource := a.source(ctx)
	checks := []doctor.Check{engineCheck(src, noSource)}
	err := a.open(ctx)
	if noSource != nil && a.cfg.Host == "" {
		return append(checks, doctor.Check{Name: "host", Look: func(_ context.Context, r *doctor.Report) {
			r.Note("without the engine it has no name (BACKUPD_HOST is not set), so nothing else was looked at")
		}})
	}
	if err != nil {
		return append(checks, doctor.Check{Name: "settings", Look: func(_ context.Context, r *doctor.Report) {
			r.Fail("mend that first: nothing else can be looked at before", "%v", err)
		}})
	}
	known := a.ledger.View()
	checks = append(checks, doctor.StateDir(a.stateOf), doctor.Service(a.daemonRuns, a.recoversAtBoot()))
	if noSource == nil {
		checks = append(checks, a.sourceChecks(src, known)...)
	}
	checks = append(checks, a.targetChecks()...)
	return append(checks,
		doctor.Keys(a.cfg.Recipients, a.keys, known.Keys, a.provenHere),
		doctor.Verified(a.cfg.Verify.Spec, known.Verify, known.ByHand, a.host, time.Local, a.now()))
}

func engineCheck(src source, err error) doctor.Check {
	if err != nil {
		return doctor.Engine("?", func(context.Context) (engine.Info, error) { return engine.Info{}, err })
	}
	return doctor.Engine(src.Address(), src.Info)
}

func (a *app) sourceChecks(src source, known ledger.State) []doctor.Check {
	opener := a.opener(src)
	checks := []doctor.Check{doctor.Volumes(a.finder(src), known.Volumes, func(ctx context.Context, v engine.Volume) (bool, error) {
		f, err := opener.Reader(ctx, v)
		if err != nil {
			return false, err
		}
		return f.Path() != "", f.Close()
	})}
	listers := map[string]doctor.Lister{}
	for _, t := range a.targets {
		listers[t.Name] = t.Catalog
	}
	if a.cfg.Source != config.Dir { // with it nothing is held
		checks = append(checks,
			doctor.Holds(func() (bool, error) { return quiesce.Pending(a.holds()) }, a.daemonRuns),
			doctor.Guard(a.siblingWorks()))
	}
	return append(checks, doctor.Covered(a.finder(src), listers), doctor.Proven(doctor.Drills{
		Finder: a.finder(src), From: listers, Known: known.Volumes, Host: a.host, Zone: time.Local, Now: a.now(),
	}))
}

func (a *app) targetChecks() (checks []doctor.Check) {
	for i, t := range a.targets {
		at := doctor.Place{Name: t.Name, Host: a.host, Owner: a.ledger.Owner(), Store: a.stores[t.Name], Lister: t.Catalog}
		if u := a.cfg.Targets[i].URL; u.Scheme == "file" {
			at.Folder, at.Free = u.Path, func() (int64, error) { return free(u.Path) }
		}
		checks = append(checks, doctor.Target(at, a.now))
	}
	return checks
}

func (a *app) stateOf() (doctor.State, error) {
	s := doctor.State{Path: a.cfg.StateDir}
	info, err := os.Stat(s.Path)
	if err != nil {
		return s, err
	}
	s.Private = info.Mode().Perm()&0o077 == 0
	s.Free, err = free(s.Path)
	return s, err
}

func free(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, fmt.Errorf("ask for the free space at %s: %w", path, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// daemonRuns tells whether a daemon has the state directory.
func (a *app) daemonRuns() (bool, error) {
	lock, err := durable.TryLock(filepath.Join(a.cfg.StateDir, daemonLock))
	if errors.Is(err, durable.ErrLocked) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, lock.Unlock()
}

// recoversAtBoot is nil where no systemd has anything to do with this program.
func (a *app) recoversAtBoot() func() (bool, error) {
	if _, err := os.Stat("/run/systemd/system"); err != nil || a.self != "" || a.cfg.Source == config.Dir {
		return nil
	}
	return func() (bool, error) {
		_, err := os.Lstat("/etc/systemd/system/multi-user.target.wants/backupd-recover.service")
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
}

// siblingWorks is nil where guards are processes like this one. A guard whose orders end before there were any lets go of nothing, and goes.
func (a *app) siblingWorks() func(ctx context.Context) error {
	if a.self == "" {
		return nil
	}
	return func(ctx context.Context) error {
		g, err := a.startSibling(ctx)
		if err != nil {
			return err
		}
		return errors.Join(g.Orders.Close(), g.Wait())
	}
}

// provenHere remembers that the identity that is set opens what the recipients that are set are sent.
func (a *app) provenHere() error {
	if err := a.encryptsTo(); err != nil {
		return err
	}
	return a.ledger.Update(func(s *ledger.State) error {
		s.Opens(a.now(), a.now())
		return nil
	})
}
