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

	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/snapshot"
)

// stored is a snapshot on a target.
type stored struct {
	catalog.Snapshot
	target backup.Target
}

// snapshotRow is a snapshot in the output of list.
type snapshotRow struct {
	ID          snapshot.ID    `json:"id"`
	Volume      string         `json:"volume"`
	Host        string         `json:"host"`
	Target      string         `json:"target"`
	Taken       time.Time      `json:"taken"`
	Bytes       int64          `json:"bytes"`        // of the files in it
	StoredBytes int64          `json:"stored_bytes"` // of its archive
	Entries     int64          `json:"entries"`
	Grade       snapshot.Grade `json:"grade"`
	HeldMS      int64          `json:"held_ms"`
	Good        bool           `json:"good"`
	Pinned      bool           `json:"pinned"`
	Suspect     string         `json:"suspect,omitempty"`
	Encrypted   bool           `json:"encrypted,omitempty"`
	Verified    time.Time      `json:"verified,omitzero"` // when it was last read back
	Damaged     string         `json:"damaged,omitempty"` // what was wrong with it then

	Proven      time.Time `json:"proven,omitzero"`       // when the newest drill was that it came well out of
	RecoveryMS  int64     `json:"recovery_ms,omitempty"` // that it took then until all was restored and well
	DrillFailed time.Time `json:"drill_failed,omitzero"` // when its last drill was, if it failed that

	grade string // for people
}

func row(s stored) snapshotRow {
	r := snapshotRow{
		ID: s.ID, Volume: s.Volume, Host: s.Host, Target: s.target.Name, Taken: s.Taken, Bytes: s.Contents.Bytes,
		StoredBytes: s.StoredBytes(), Entries: s.Contents.Entries, Grade: s.Grade, HeldMS: s.HeldMS(), Good: s.Good(),
		Pinned: s.Pinned, Suspect: s.Suspect, Encrypted: s.Encrypted(), Verified: s.Proof.At, Damaged: s.Proof.Damaged,
		Proven: s.Proven().At, RecoveryMS: s.Proven().Recovery.Milliseconds(),
		grade: graded(s.Manifest),
	}
	if s.DrillFailed() {
		r.DrillFailed = s.Drilled().At
	}
	return r
}

func newList(std streams) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "list [VOLUME...]",
		GroupID: "look",
		Short:   "List snapshots, oldest first",
		Long: `List the snapshots of all volumes of this host, or of those that are named,
oldest first. One that lies on several targets has one line. Of other hosts that
share the targets nothing is shown unless --host or --all-hosts asks for it; of
all of them it is by host and volume, and then oldest first.

GRADE says how still the data was while it was read:

  cold     nothing ran that could write
  frozen   containers were held throughout
  still    nothing was held, and nothing moved
  unheld   nothing was held, as was asked for (quiesce none, or the dir source)
  fuzzy    data may have moved, though it was to be held

An asterisk marks a snapshot that does not count: retention does not rely on it,
and "latest" does not mean it. Of one that is suspect for what it holds, a line
below says why. TARGETS says on which of them it is DAMAGED, by what was found when
it was last read back. PROVEN says how long ago a drill has proven that it can be
restored, or that its last drill FAILED; below is told of each volume when that last
was, and how long it took until all was restored and well. Where nothing was ever
tried out there is no such column. "backupd show" tells more of each.`,
		Example: `  backupd list
  backupd list app
  backupd list --host web2
  backupd list --json app | jq -r '.snapshots[-1].id'`,
		ValidArgsFunction: complete(std, storedVolumes, 0),
		RunE: withApp(std, func(ctx context.Context, a *app, args []string) error {
			rows, err := a.rows(ctx, args)
			if asJSON {
				return errors.Join(writeJSON(std.out, "snapshots", rows), err)
			}
			if len(rows) == 0 && err == nil {
				return a.noSnapshots(args)
			}
			return errors.Join(a.printSnapshots(rows), err)
		}),
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	addHosts(c)
	return c
}

// noSnapshots says so: an error where a volume was named, since its name may be wrong.
func (a *app) noSnapshots(volumes []string) error {
	if len(volumes) > 0 {
		return fmt.Errorf("there are no snapshots of %q on %s", volumes, a.hosts())
	}
	hint := ""
	if a.scope == (scope{}) {
		hint = " yet: make some with \"backupd backup\""
	}
	_, err := fmt.Fprintf(a.std.err, "there are no snapshots of %s%s\n", a.hosts(), hint)
	return err
}

func (a *app) printSnapshots(rows []snapshotRow) error {
	if len(rows) == 0 {
		return nil
	}
	var order []snapshot.Ref
	copies := map[snapshot.Ref][]snapshotRow{}
	for _, r := range rows {
		ref := snapshot.Ref{Host: r.Host, Volume: r.Volume, ID: r.ID}
		if copies[ref] == nil {
			order = append(order, ref)
		}
		copies[ref] = append(copies[ref], r)
	}
	drilled := slices.ContainsFunc(rows, snapshotRow.drilled)
	line := func(id, host, proven, targets string, facts ...string) []string {
		cells := []string{id}
		if a.scope.every {
			cells = append(cells, host)
		}
		cells = append(cells, facts...)
		if drilled {
			cells = append(cells, proven)
		}
		return append(cells, targets)
	}
	t := newTable(a.std.out, line("SNAPSHOT", "HOST", "PROVEN", "TARGETS", "VOLUME", "AGE", "SIZE", "GRADE", "HELD")...) // fits 80 columns, as a rule
	for _, ref := range order {
		r, now := copies[ref][0], a.now()
		t.row(line(string(r.ID), r.Host, provenCopies(copies[ref], now), places(copies[ref]),
			r.Volume, age(r.Taken, now), short(r.Bytes), gradedCopies(copies[ref]), held(r.HeldMS))...)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, ref := range order {
		if why := copies[ref][0].Suspect; why != "" {
			fmt.Fprintf(a.std.out, "%s of volume %s is suspect: %s\n", ref.ID, a.volumeName(ref.Host, ref.Volume), printable(why))
		}
	}
	if drilled {
		a.printProofs(rows)
	}
	return nil
}

// gradedCopies is a grade for people, of a snapshot that counts when it does on any target.
func gradedCopies(copies []snapshotRow) string {
	word := strings.TrimSuffix(copies[0].grade, "*")
	if !slices.ContainsFunc(copies, func(r snapshotRow) bool { return r.Good }) {
		word += "*"
	}
	return word
}

// places names the targets that have a snapshot, those on which it is pinned, and those on which it is damaged.
func places(copies []snapshotRow) string {
	var words []string
	for _, r := range copies {
		word := r.Target
		if r.Pinned {
			word += "(pinned)"
		}
		if r.Damaged != "" {
			word += "(DAMAGED)"
		}
		words = append(words, word)
	}
	return strings.Join(words, ",")
}

// rows gives the same as snapshots, of which there may be very many: only what is shown is kept of each.
func (a *app) rows(ctx context.Context, volumes []string) ([]snapshotRow, error) {
	rows := []snapshotRow{}
	var errs []error
	for _, t := range a.targets {
		for l, err := range t.Catalog.Each(ctx, a.scope.query(volumes, "")) {
			for _, s := range l.Snapshots {
				rows = append(rows, row(stored{s, t}))
			}
			if err := errors.Join(err, l.Err()); err != nil {
				errs = append(errs, fmt.Errorf("target %s: %w", t.Name, err))
			}
		}
	}
	if len(rows) == 0 && len(errs) == 0 {
		return rows, a.known(ctx)
	}
	slices.SortStableFunc(rows, a.order)
	return rows, errors.Join(errs...)
}

// order is oldest first, of every host by host and volume before that.
func (a *app) order(x, y snapshotRow) int {
	of, taken := cmp.Or(strings.Compare(x.Host, y.Host), strings.Compare(x.Volume, y.Volume)), x.Taken.Compare(y.Taken)
	if a.scope.every {
		return cmp.Or(of, taken)
	}
	return cmp.Or(taken, of)
}

// snapshots gives those of the named volumes, or of all, on every target, oldest first. What could be listed is given also when
// there is an error.
func (a *app) snapshots(ctx context.Context, volumes []string) ([]stored, error) {
	return a.stored(ctx, a.scope.query(volumes, ""))
}

func (a *app) stored(ctx context.Context, q catalog.Query) ([]stored, error) {
	var all []stored
	var errs []error
	for _, t := range a.targets {
		l, err := t.Catalog.List(ctx, q)
		for _, s := range l.Snapshots {
			all = append(all, stored{s, t})
		}
		if err := errors.Join(err, l.Err()); err != nil {
			errs = append(errs, fmt.Errorf("target %s: %w", t.Name, err))
		}
	}
	if len(all) == 0 && len(errs) == 0 {
		return nil, a.known(ctx)
	}
	slices.SortStableFunc(all, func(x, y stored) int { return x.Taken.Compare(y.Taken) })
	return all, errors.Join(errs...)
}

// find gives the snapshot that an id or the beginning of one means, on every target that has it.
func (a *app) find(ctx context.Context, prefix string) ([]stored, error) {
	prefix = strings.TrimSpace(prefix)
	all, unlisted := a.stored(ctx, a.scope.query(nil, prefix))
	return match(all, prefix, unlisted)
}

// match is find among these. Where none is it, the reason may be that not all could be listed.
func match(all []stored, prefix string, unlisted error) (copies []stored, err error) {
	plain := make([]catalog.Snapshot, len(all))
	for i, s := range all {
		plain[i] = s.Snapshot
	}
	found, err := catalog.Find(plain, strings.TrimSpace(prefix))
	if err != nil && unlisted != nil {
		return nil, errors.Join(err, unlisted)
	}
	if err != nil {
		return nil, usage(err)
	}
	for _, s := range all {
		if s.Ref() == found.Ref() {
			copies = append(copies, s)
		}
	}
	return copies, nil
}
