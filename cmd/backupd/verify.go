package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/ledger"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/verify"
)

// verifyRow is a snapshot on a target in the output of verify.
type verifyRow struct {
	ID      string        `json:"id"`
	Volume  string        `json:"volume"`
	Host    string        `json:"host"`
	Target  string        `json:"target"`
	Sound   bool          `json:"sound"`
	Unread  bool          `json:"unread"`         // it could not be looked at, so that nothing bad is known of it
	Gone    bool          `json:"gone,omitempty"` // it was removed while it was read
	Bytes   int64         `json:"bytes"`          // of tar that was read; of what is stored, when it is locked
	Seconds float64       `json:"seconds"`
	Damages []damageRow   `json:"damages"`
	Hurts   []snapshot.ID `json:"hurts"`            // other snapshots that are read from an archive that damage lies in
	Locked  string        `json:"locked,omitempty"` // why it could not be decrypted, so that only its bytes as they are stored were checked
	Error   string        `json:"error,omitempty"`
}

type damageRow struct {
	Archive string   `json:"archive"` // by the id of the snapshot that wrote it
	Offset  int64    `json:"offset"`  // in the stored archive
	Length  int64    `json:"length"`
	Error   string   `json:"error"`
	Entries int64    `json:"entries"` // that it hits
	Paths   []string `json:"paths"`   // the first of them
}

func newVerify(std streams) *cobra.Command {
	var all, asJSON bool
	var volumes []string
	c := &cobra.Command{
		Use:     "verify [SNAPSHOT...]",
		GroupID: "look",
		Short:   "Read snapshots back and check every digest",
		Long: `Read snapshots back from every target that has them, and check each against its
manifest and index, to the last byte. Each damage names the files that it hits;
all others can still be restored.

Without arguments it takes the newest good snapshot of each volume. Of one that is
encrypted only the bytes that are stored are checked where no key is set.

What is found is remembered. A snapshot that is damaged is marked in "backupd
list", counts for nothing, and is removed by nobody but you; once it proves to be
sound after all it counts again. So is every other one that is read from an
archive in which damage was found, until it is verified itself; and no later
backup leans on such an archive. The daemon does the same by itself: see
BACKUPD_VERIFY in "backupd help settings".

Exit code 4 says that damaged data was found. A target that refuses, or that
cannot be reached, says nothing of what is on it: that is 1, or 3 when other
snapshots could be read and are sound.`,
		Example: `  backupd verify
  backupd verify 20261123T030000Z-5f0c2a9e
  backupd verify --all --volume app`,
		ValidArgsFunction: complete(std, snapshotIDs, 0),
		RunE: withApp(std, func(ctx context.Context, a *app, args []string) error {
			chosen, unlisted := a.toVerify(ctx, args, volumes, all)
			if len(chosen) == 0 && unlisted == nil {
				unlisted = a.noSnapshots(volumes)
			}
			rows, began := []verifyRow{}, a.now()
			for _, s := range chosen {
				row := a.verify(ctx, s)
				rows = append(rows, row)
				if !asJSON {
					a.printVerified(row)
				}
			}
			if asJSON {
				if err := writeJSON(std.out, "verified", rows); err != nil {
					return err
				}
			}
			if len(args) == 0 && len(volumes) == 0 && a.scope == (scope{}) && everythingRead(rows, unlisted) {
				a.verifiedByHand(began)
			}
			return unsound(rows, unlisted)
		}),
	}
	c.Flags().BoolVar(&all, "all", false, "every snapshot, and not only the newest good ones")
	c.Flags().StringArrayVar(&volumes, "volume", nil, "only of this volume; may be repeated")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	addHosts(c)
	return c
}

func (a *app) verifier() verify.Verifier {
	return verify.Verifier{Targets: a.targets, Ledger: a.ledger, HasKey: a.cfg.Identity != "", Now: a.now}
}

// verify reads one snapshot back from one target.
func (a *app) verify(ctx context.Context, of toRead) verifyRow {
	bars := newBars(a.std.err)
	defer bars.done()
	began := a.now()
	s, r := a.readBack(ctx, of, bars)
	row := verifyRow{
		ID: string(of.ID), Volume: of.Volume, Host: of.Host, Target: of.from.Name, Bytes: r.Bytes, Damages: []damageRow{},
		Hurts: append([]snapshot.ID{}, r.Hurts...), Seconds: a.now().Sub(began).Seconds(),
		Sound: r.Verdict == verify.Sound, Unread: r.Verdict == verify.Unread, Gone: r.Verdict == verify.Gone, Locked: text(r.Locked), Error: text(r.Err),
	}
	for _, d := range r.Damages {
		row.Damages = append(row.Damages, damageRow{Archive: cmp.Or(d.Archive, string(s.Index().ID)), Offset: d.Offset, Length: d.Length, Error: text(d.Err), Entries: d.Entries, Paths: d.Paths})
	}
	if r.Aside != nil {
		a.log.Error("what was known of damage is lost", "volume", of.Volume, "err", r.Aside)
	}
	if r.Unrecorded != nil {
		a.log.Error("what was found cannot be remembered, so that retention does not know it", "snapshot", of.ID, "target", of.from.Name, "err", r.Unrecorded)
	}
	return row
}

func (a *app) readBack(ctx context.Context, of toRead, bars *bars) (catalog.Snapshot, verify.Result) {
	s, err := of.from.Catalog.Snapshot(ctx, of.Ref)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, verify.Result{Verdict: verify.Gone}
	case err != nil:
		return s, verify.Result{Verdict: verify.Unread, Err: err}
	}
	return s, a.verifier().Snapshot(ctx, of.from, s, func(done, expected int64) { bars.update(s.Volume, done, expected) })
}

func (a *app) printVerified(row verifyRow) {
	std := a.std
	verdict := "sound"
	switch {
	case row.Unread:
		verdict = "NOT READ"
	case row.Gone:
		verdict = "removed"
	case !row.Sound:
		verdict = "DAMAGED"
	case row.Locked != "":
		verdict = "as written"
	}
	fmt.Fprintf(std.out, "%s  %s  of %s on %s: %s\n", verdict, row.ID, a.volumeName(row.Host, row.Volume), row.Target, row.pace())
	if row.Locked != "" {
		fmt.Fprintf(std.out, "  checked: the bytes that are stored; not checked: what is in them, as %s\n", printable(row.Locked))
	}
	if row.Error != "" {
		fmt.Fprintf(std.out, "  %s\n", printable(row.Error))
	}
	for _, d := range row.Damages {
		where := ""
		if d.Archive != row.ID {
			where = "in archive " + printable(d.Archive) + " "
		}
		fmt.Fprintf(std.out, "  %sat byte %d, %d long: %s\n", where, d.Offset, d.Length, printable(d.Error))
		for _, path := range d.Paths {
			fmt.Fprintf(std.out, "    hits %s\n", printable(path))
		}
		if more := d.Entries - int64(len(d.Paths)); more > 0 {
			fmt.Fprintf(std.out, "    and %d more\n", more)
		}
	}
	for _, id := range row.Hurts {
		fmt.Fprintf(std.out, "  also read from there, so that it counts for nothing until it is verified itself: %s\n", id)
	}
}

// pace says how much was read, how long that took, and so how fast it was.
func (r verifyRow) pace() string {
	took := time.Duration(r.Seconds * float64(time.Second))
	precision := time.Millisecond
	if took < precision {
		precision = time.Microsecond
	}
	words := fmt.Sprintf("%s in %s", size(r.Bytes), took.Round(precision))
	if r.Bytes > 0 && took > 0 {
		words += fmt.Sprintf(", %s/s", size(int64(float64(r.Bytes)/r.Seconds)))
	}
	return words
}

func everythingRead(rows []verifyRow, unlisted error) bool {
	return len(rows) > 0 && unlisted == nil && !slices.ContainsFunc(rows, func(r verifyRow) bool { return r.Unread })
}

// verifiedByHand has it remembered that what is stored was read back. That it cannot be is no reason to doubt what was found.
func (a *app) verifiedByHand(at time.Time) {
	err := a.ledger.Update(func(s *ledger.State) error {
		s.ByHand = at.UTC()
		return nil
	})
	if err != nil {
		a.log.Error("that it was verified cannot be remembered, so that \"backupd doctor\" does not know it", "err", err)
	}
}

// unsound is the error of what was found, and of what could not be looked at because it could not even be listed.
func unsound(rows []verifyRow, unlisted error) error {
	var damaged, unread []string
	for _, r := range rows {
		switch {
		case r.Gone: // while it was read, as retention does: no harm
		case r.Unread:
			unread = append(unread, r.ID+" on "+r.Target)
		case !r.Sound:
			damaged = append(damaged, r.ID+" on "+r.Target)
		}
	}
	if len(rows) == 0 {
		return unlisted
	}
	errs, code := []error{unlisted}, exitFailed
	if len(unread) > 0 {
		errs = append(errs, fmt.Errorf("not read: %s", strings.Join(unread, ", ")))
	}
	if len(rows) > len(unread) {
		code = exitSome
	}
	if len(damaged) > 0 {
		errs, code = append(errs, fmt.Errorf("damaged: %s", strings.Join(damaged, ", "))), exitDamaged
	}
	if err := errors.Join(errs...); err != nil {
		return coded{err, code}
	}
	return nil
}
