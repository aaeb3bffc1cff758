package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/audit"
	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/snapshot"
)

// auditFlags say what an audit is of.
type auditFlags struct {
	maxAge string
	target string
	asJSON bool
}

func newAudit(std streams) *cobra.Command {
	var f auditFlags
	c := &cobra.Command{
		Use:     "audit [VOLUME...]",
		GroupID: "look",
		Short:   "Tell from the targets alone how old the newest good snapshots are",
		Long: `Tell how old the newest good snapshot of each volume is, of every host that has
any on the targets, or of the one that --host names. It asks no engine and needs
nothing of the hosts that made the snapshots: run it on another machine, with no
setting but BACKUPD_TARGETS (and BACKUPD_STATE_DIR, of a user who is not root),
for an alarm that does not depend on them.

Each volume has a line for each target that it is on. GOOD counts the snapshots
that "latest" can mean. BAD counts those that cannot: suspect for what they hold,
fuzzy as they did not hold still, found damaged by "backupd verify" on this
machine, with a drill that failed, dated in the future, or with a manifest that
cannot be read. PROVEN is how long ago a drill last restored a good one and found
it well.

Exit codes: 0 when each volume has a good snapshot, not older than --max-age, on
each target that it is on, and each volume that is named is there; 3 when that is
so of some, 1 when of none, or when a target cannot be listed. A volume that is not
on a target at all is only missed when it is named.`,
		Example: `  backupd audit
  backupd audit --max-age 26h
  backupd audit --max-age 26h --host web1 --target offsite app db
  backupd audit --json | jq -r '.volumes[] | select(.problem) | .volume'`,
		ValidArgsFunction: complete(std, storedVolumes, 0),
		RunE: func(c *cobra.Command, args []string) error {
			of, err := scopeOf(c)
			if err != nil {
				return err
			}
			a, err := newNameless(c.Context(), std)
			if err != nil {
				return err
			}
			a.scope = scope{host: of.host, every: of.host == ""}
			return a.audit(c.Context(), args, f)
		},
	}
	c.Flags().StringVar(&f.maxAge, "max-age", "", "fail for volumes whose newest good snapshot is older than `PERIOD`: 26h, 2d, 1w")
	c.Flags().StringVar(&f.target, "target", "", "only what is on this `TARGET`")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print one JSON document")
	c.Flags().String(hostFlag, "", "only of the host `NAME`")
	completeFlag(c, std, "target", targetNames)
	return c
}

// newNameless is newApp for what looks at targets as anybody could: nobody is asked what this host is called.
func newNameless(ctx context.Context, std streams) (*app, error) {
	a, err := newBareApp(std)
	if err != nil {
		return nil, err
	}
	a.cfg.Host = cmp.Or(a.cfg.Host, "nobody")
	return a, a.open(ctx)
}

// audit tells of what is asked for, and fails for what is not well.
func (a *app) audit(ctx context.Context, names []string, f auditFlags) error {
	oldest := audit.AnyAge
	if f.maxAge != "" {
		var err error
		if oldest, err = retention.ParsePeriod(f.maxAge); err != nil {
			return usagef("--max-age %q: %w", f.maxAge, err)
		}
	}
	if f.target != "" {
		only, err := a.target(f.target)
		if err != nil {
			return err
		}
		a.targets = []backup.Target{only}
	}
	rows, err := a.audited(ctx, names, oldest)
	if f.asJSON {
		err = errors.Join(writeJSON(a.std.out, "volumes", rows), err)
	} else if len(rows) > 0 {
		err = errors.Join(a.printAudit(rows), err)
	}
	return errors.Join(err, a.alarm(names, rows, err == nil))
}

// auditRow is a volume on a target in the output of audit.
type auditRow struct {
	Host       string      `json:"host"`
	Volume     string      `json:"volume"`
	Target     string      `json:"target"`
	Snapshot   snapshot.ID `json:"snapshot,omitempty"` // the newest good one
	Taken      time.Time   `json:"taken,omitzero"`
	AgeSeconds *int64      `json:"age_seconds,omitempty"`
	Bytes      int64       `json:"bytes"` // of the files in it
	Proven     time.Time   `json:"proven,omitzero"`
	Good       int         `json:"good"` // snapshots
	Suspect    int         `json:"suspect"`
	Fuzzy      int         `json:"fuzzy"`
	Damaged    int         `json:"damaged"`
	Drills     int         `json:"failed_drills"`
	Future     int         `json:"future"`
	Unreadable int         `json:"unreadable"`
	Problem    string      `json:"problem,omitempty"`

	bad string // for people
}

// audited takes stock of each volume as it comes: of the snapshots, of which there may be very many, only counts are kept.
func (a *app) audited(ctx context.Context, names []string, oldest time.Duration) ([]auditRow, error) {
	rows := []auditRow{}
	var errs []error
	for _, t := range a.targets {
		for l, err := range t.Catalog.Each(ctx, a.scope.query(names, "")) {
			if err := errors.Join(err, l.Err()); err != nil {
				errs = append(errs, fmt.Errorf("target %s: %w", t.Name, err))
			}
			if v, ok := audit.Of(l, a.now()); ok {
				rows = append(rows, a.auditRow(v, t.Name, oldest))
			}
		}
	}
	if len(rows) == 0 && len(errs) == 0 {
		return rows, cmp.Or(a.known(ctx), fmt.Errorf("there are no snapshots of %s", a.hosts()))
	}
	slices.SortStableFunc(rows, func(x, y auditRow) int {
		return cmp.Or(strings.Compare(x.Host, y.Host), strings.Compare(x.Volume, y.Volume))
	})
	return rows, errors.Join(errs...)
}

func (a *app) auditRow(v audit.Volume, target string, oldest time.Duration) auditRow {
	now := a.now()
	r := auditRow{
		Host: v.Host, Volume: v.Volume, Target: target, Snapshot: v.Newest.ID, Taken: v.Newest.Taken, Bytes: v.Newest.Contents.Bytes,
		Proven: v.Proven, Good: v.Good, Suspect: v.Suspect, Fuzzy: v.Fuzzy, Damaged: v.Damaged, Drills: v.FailedDrills, Future: v.Future, Unreadable: v.Unreadable,
		Problem: v.Problem(now, oldest), bad: v.Bad(),
	}
	if v.Good > 0 {
		seconds := int64(v.Age(now) / time.Second)
		r.AgeSeconds = &seconds
	}
	return r
}

func (a *app) printAudit(rows []auditRow) error {
	t := newTable(a.std.out, "HOST", "VOLUME", "TARGET", "NEWEST GOOD", "AGE", "SIZE", "GOOD", "PROVEN", "BAD")
	for _, r := range rows {
		newest, old, bytes, proven := "-", "-", "-", "-"
		if r.Good > 0 {
			newest, old, bytes = string(r.Snapshot), age(r.Taken, a.now()), short(r.Bytes)
		}
		if !r.Proven.IsZero() {
			proven = age(r.Proven, a.now())
		}
		t.row(r.Host, r.Volume, r.Target, newest, old, bytes, strconv.Itoa(r.Good), proven, r.bad)
	}
	return t.flush()
}

// alarm fails for what is wrong with volumes: with all that there are and should be, or with some. When not all was listed, it is no
// success that some are well.
func (a *app) alarm(names []string, rows []auditRow, listed bool) error {
	var errs []error
	for _, r := range rows {
		if r.Problem != "" {
			errs = append(errs, fmt.Errorf("volume %q of host %q on target %s: %s", r.Volume, r.Host, r.Target, r.Problem))
		}
	}
	wanted := len(rows)
	for _, name := range names {
		if len(rows) > 0 && !slices.ContainsFunc(rows, func(r auditRow) bool { return r.Volume == name }) {
			wanted++
			errs = append(errs, fmt.Errorf("there are no snapshots of volume %q of %s", name, a.hosts()))
		}
	}
	switch err := errors.Join(errs...); {
	case err == nil || !listed:
		return err
	case len(errs) < wanted:
		return coded{err, exitSome}
	default:
		return coded{err, exitFailed}
	}
}
