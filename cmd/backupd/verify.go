package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/archive"
)

// verifyRow is a snapshot on a target in the output of verify.
type verifyRow struct {
	ID      string      `json:"id"`
	Volume  string      `json:"volume"`
	Target  string      `json:"target"`
	Sound   bool        `json:"sound"`
	Bytes   int64       `json:"bytes"` // of tar that was read
	Seconds float64     `json:"seconds"`
	Damages []damageRow `json:"damages"`
	Error   string      `json:"error,omitempty"`

	unread bool // the target refused, or somebody lost patience: nothing is known of the snapshot
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

Without arguments it takes the newest good snapshot of each volume.
Exit code 4 says that damaged data was found.`,
		Example: `  backupd verify
  backupd verify 20261123T030000Z-5f0c2a9e
  backupd verify --all --volume app`,
		ValidArgsFunction: complete(std, snapshotIDs, 0),
		RunE: withApp(std, func(ctx context.Context, a *app, args []string) error {
			chosen, err := a.toVerify(ctx, args, volumes, all)
			if err != nil {
				return err
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
				err = writeJSON(std.out, "verified", rows)
			}
			return errors.Join(err, unsound(rows))
		}),
	}
	c.Flags().BoolVar(&all, "all", false, "every snapshot, and not only the newest good ones")
	c.Flags().StringArrayVar(&volumes, "volume", nil, "only of this volume; may be repeated")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return c
}

// toVerify gives the named snapshots, or the newest good one of each volume and target, or all of them.
func (a *app) toVerify(ctx context.Context, names, volumes []string, all bool) (chosen []stored, err error) {
	for _, name := range names {
		found, err := a.find(ctx, name)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, found...)
	}
	if len(names) > 0 {
		return chosen, nil
	}
	there, err := a.snapshots(ctx, volumes)
	if err != nil {
		return nil, err
	}
	if all {
		return there, nil
	}
	newest := map[string]stored{}
	for _, s := range there { // oldest first
		if s.Good() {
			newest[s.Volume+"\x00"+s.target.Name] = s
		}
	}
	for _, s := range newest {
		chosen = append(chosen, s)
	}
	slices.SortFunc(chosen, func(x, y stored) int {
		return strings.Compare(x.Volume+"\x00"+x.target.Name, y.Volume+"\x00"+y.target.Name)
	})
	return chosen, nil
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
	row.Seconds = a.now().Sub(began).Seconds()
	for _, d := range damages {
		row.Damages = append(row.Damages, damageRow{Offset: d.Offset, Length: d.Length, Error: text(d.Err), Entries: d.Entries, Paths: d.Paths})
	}
	row.Error = text(err)
	row.unread = len(damages) == 0 && (ctx.Err() != nil || errors.Is(err, fs.ErrPermission))
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
	case row.unread:
		verdict = "NOT READ"
	case !row.Sound:
		verdict = "DAMAGED"
	}
	took := time.Duration(row.Seconds * float64(time.Second)).Round(time.Millisecond)
	fmt.Fprintf(std.out, "%s  %s  of %s on %s: %s in %s\n", verdict, row.ID, printable(row.Volume), row.Target, size(row.Bytes), took)
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

// unsound is the error of what was found.
func unsound(rows []verifyRow) error {
	var damaged, unread []string
	for _, r := range rows {
		switch {
		case r.unread:
			unread = append(unread, r.ID+" on "+r.Target)
		case !r.Sound:
			damaged = append(damaged, r.ID+" on "+r.Target)
		}
	}
	switch {
	case len(damaged) > 0:
		return coded{fmt.Errorf("damaged: %s", strings.Join(damaged, ", ")), exitDamaged}
	case len(unread) > 0:
		return fmt.Errorf("not read: %s", strings.Join(unread, ", "))
	default:
		return nil
	}
}
