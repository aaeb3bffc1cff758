package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/seal"
)

// verifyRow is a snapshot on a target in the output of verify.
type verifyRow struct {
	ID      string      `json:"id"`
	Volume  string      `json:"volume"`
	Target  string      `json:"target"`
	Sound   bool        `json:"sound"`
	Unread  bool        `json:"unread"` // it could not be looked at, so that nothing bad is known of it
	Bytes   int64       `json:"bytes"`  // of tar that was read; of what is stored, when it is locked
	Seconds float64     `json:"seconds"`
	Damages []damageRow `json:"damages"`
	Locked  string      `json:"locked,omitempty"` // why it could not be decrypted, so that only its bytes as they are stored were checked
	Error   string      `json:"error,omitempty"`
}

type damageRow struct {
	Offset  int64    `json:"offset"` // in the stored archive
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
			rows := []verifyRow{}
			for _, s := range chosen {
				row := a.verify(ctx, s)
				rows = append(rows, row)
				if !asJSON {
					printVerified(std, row)
				}
			}
			if asJSON {
				if err := writeJSON(std.out, "verified", rows); err != nil {
					return err
				}
			}
			return unsound(rows, unlisted)
		}),
	}
	c.Flags().BoolVar(&all, "all", false, "every snapshot, and not only the newest good ones")
	c.Flags().StringArrayVar(&volumes, "volume", nil, "only of this volume; may be repeated")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return c
}

// toVerify gives the named snapshots, or the newest good one of each volume and target, or all of them. What could be listed is given
// also when there is an error.
func (a *app) toVerify(ctx context.Context, names, volumes []string, all bool) ([]stored, error) {
	there, unlisted := a.snapshots(ctx, volumes)
	switch {
	case len(names) > 0:
		return named(there, names, unlisted)
	case all:
		return there, unlisted
	}
	newest := map[string]stored{}
	for _, s := range there { // oldest first
		if s.Good() {
			newest[s.Volume+"\x00"+s.target.Name] = s
		}
	}
	var chosen []stored
	for _, key := range slices.Sorted(maps.Keys(newest)) {
		chosen = append(chosen, newest[key])
	}
	return chosen, unlisted
}

func named(there []stored, names []string, unlisted error) (chosen []stored, err error) {
	for _, name := range names {
		found, err := match(there, name, unlisted)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, found...)
	}
	return chosen, unlisted
}

// verify reads one snapshot back from one target.
func (a *app) verify(ctx context.Context, s stored) verifyRow {
	row := verifyRow{ID: string(s.ID), Volume: s.Volume, Target: s.target.Name, Damages: []damageRow{}}
	bars := newBars(a.std.err)
	defer bars.done()
	began := a.now()
	damages, err := a.readBack(ctx, s, func(done int64) {
		row.Bytes = done
		bars.update(s.Volume, done, s.Archives[0].Plain)
	})
	if errors.Is(err, seal.ErrLocked) && a.cfg.Identity == "" {
		row.Locked = text(err)
		err = s.target.Catalog.VerifyStored(ctx, s.Manifest, func(done int64) {
			row.Bytes = done
			bars.update(s.Volume, done, s.StoredBytes())
		})
	}
	row.Seconds = a.now().Sub(began).Seconds()
	for _, d := range damages {
		row.Damages = append(row.Damages, damageRow{Offset: d.Offset, Length: d.Length, Error: text(d.Err), Entries: d.Entries, Paths: d.Paths})
	}
	row.Error = text(err)
	_, unread := errors.AsType[*archive.SourceError](err)
	row.Unread = len(damages) == 0 && (ctx.Err() != nil || unread || errors.Is(err, seal.ErrLocked))
	row.Sound = err == nil && len(damages) == 0
	return row
}

func (a *app) readBack(ctx context.Context, s stored, progress func(done int64)) ([]archive.Damage, error) {
	r, err := s.target.Catalog.Open(ctx, s.Manifest)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.Verify(ctx, progress)
}

func printVerified(std streams, row verifyRow) {
	verdict := "sound"
	switch {
	case row.Unread:
		verdict = "NOT READ"
	case !row.Sound:
		verdict = "DAMAGED"
	case row.Locked != "":
		verdict = "as written"
	}
	fmt.Fprintf(std.out, "%s  %s  of %s on %s: %s\n", verdict, row.ID, printable(row.Volume), row.Target, row.pace())
	if row.Locked != "" {
		fmt.Fprintf(std.out, "  checked: the bytes that are stored; not checked: what is in them, as %s\n", printable(row.Locked))
	}
	if row.Error != "" {
		fmt.Fprintf(std.out, "  %s\n", printable(row.Error))
	}
	for _, d := range row.Damages {
		fmt.Fprintf(std.out, "  at byte %d, %d long: %s\n", d.Offset, d.Length, printable(d.Error))
		for _, path := range d.Paths {
			fmt.Fprintf(std.out, "    hits %s\n", printable(path))
		}
		if more := d.Entries - int64(len(d.Paths)); more > 0 {
			fmt.Fprintf(std.out, "    and %d more\n", more)
		}
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

// unsound is the error of what was found, and of what could not be looked at because it could not even be listed.
func unsound(rows []verifyRow, unlisted error) error {
	var damaged, unread []string
	for _, r := range rows {
		switch {
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
