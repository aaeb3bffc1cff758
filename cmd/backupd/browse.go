package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/archive"
)

// fileRow is a file, or whatever it is, in the output of ls.
type fileRow struct {
	Path string `json:"path"`
	statRow
}

// statRow is what is told of a file in every output.
type statRow struct {
	Kind     string    `json:"kind"`
	Mode     string    `json:"mode"` // octal
	UID      uint32    `json:"uid"`
	GID      uint32    `json:"gid"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	Link     string    `json:"link,omitempty"`
}

func asFile(e archive.Entry) fileRow { return fileRow{e.Path, asStat(e)} }

func asStat(e archive.Entry) statRow {
	return statRow{
		Kind: e.Kind.String(), Mode: fmt.Sprintf("%04o", e.Mode), UID: e.UID, GID: e.GID, Size: e.Size,
		Modified: e.ModTime.UTC(), Link: e.Linkname,
	}
}

// withReader opens the snapshot that the first argument means on the first target that has it.
func withReader(std streams, do func(ctx context.Context, r *archive.Reader, args []string) error) func(*cobra.Command, []string) error {
	return withApp(std, func(ctx context.Context, a *app, args []string) error {
		r, err := a.reader(ctx, args[0])
		if err != nil {
			return err
		}
		defer r.Close()
		return do(ctx, r, args[1:])
	})
}

func (a *app) reader(ctx context.Context, prefix string) (*archive.Reader, error) {
	found, err := a.find(ctx, prefix)
	if err != nil {
		return nil, err
	}
	return found[0].target.Catalog.Open(ctx, found[0].Manifest)
}

func newLs(std streams) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "ls SNAPSHOT [PATH]",
		GroupID: "look",
		Short:   "List the files in a snapshot",
		Long: `List what is in a snapshot, or at PATH and below it: kind, permissions, owner, size,
time of modification, path. Only the index of the snapshot is fetched.`,
		Example: `  backupd ls 20261123T030000Z-5f0c2a9e
  backupd ls 20261123T03 etc/nginx --json | jq -r '.files[].path'`,
		Args:              argsBetween(1, 2, "a snapshot, and a path in it if you like"),
		ValidArgsFunction: complete(std, snapshotIDs, 1),
		RunE: withReader(std, func(ctx context.Context, r *archive.Reader, args []string) error {
			under := append(args, ".")[0]
			found := false
			print, end, err := printer(std, "files", asJSON, asFile, entryLine)
			for e, failed := range r.Entries(ctx, under) {
				if err = errors.Join(err, failed); err != nil {
					break
				}
				found = true
				err = print(e.Entry)
			}
			if err == nil && !found {
				err = usagef("the snapshot has no %q", under)
			}
			return errors.Join(err, end())
		}),
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	addHosts(c)
	return c
}

func newCat(std streams) *cobra.Command {
	c := &cobra.Command{
		Use:     "cat SNAPSHOT PATH",
		GroupID: "back",
		Short:   "Print one file of a snapshot",
		Long: `Print one file of a snapshot. Only what it takes is fetched, and each piece is checked
before it is printed.`,
		Example:           `  backupd cat 20261123T030000Z-5f0c2a9e etc/nginx/nginx.conf`,
		Args:              argsBetween(2, 2, "a snapshot and a path in it"),
		ValidArgsFunction: complete(std, snapshotIDs, 1),
		RunE: withReader(std, func(ctx context.Context, r *archive.Reader, args []string) error {
			f, err := r.OpenFile(ctx, args[0])
			if err != nil {
				return err
			}
			_, err = io.Copy(std.out, f)
			return errors.Join(err, f.Close())
		}),
	}
	addHosts(c)
	return c
}

func newExport(std streams) *cobra.Command {
	c := &cobra.Command{
		Use:     "export SNAPSHOT",
		GroupID: "back",
		Short:   "Print a whole snapshot as a plain tar stream",
		Long: `Print a whole snapshot as a plain POSIX pax tar stream, which GNU tar and bsdtar read.
A terminal is refused.`,
		Example: `  backupd export 20261123T030000Z-5f0c2a9e | tar -xf - -C /tmp/app
  backupd export 20261123T030000Z-5f0c2a9e | ssh elsewhere tar -xf - -C /srv`,
		Args:              oneArg("a snapshot"),
		ValidArgsFunction: complete(std, snapshotIDs, 1),
		PreRunE: func(*cobra.Command, []string) error {
			if isTerminal(std.out) {
				return usagef("this would print a tar stream on your terminal: send it to a file or a program")
			}
			return nil
		},
		RunE: withReader(std, func(ctx context.Context, r *archive.Reader, _ []string) error {
			return r.Tar(ctx, std.out)
		}),
	}
	addHosts(c)
	return c
}

// changeRow is a change in the output of diff.
type changeRow struct {
	Path   string   `json:"path"`
	What   string   `json:"what"` // "added", "removed", or a list of data, mode, owner, time, link, kind
	Before *fileRow `json:"before,omitempty"`
	After  *fileRow `json:"after,omitempty"`
}

func asChange(c archive.Change) changeRow {
	row := changeRow{Path: c.Path, What: c.What.String()}
	if c.Before != nil {
		before := asFile(c.Before.Entry)
		row.Before = &before
	}
	if c.After != nil {
		after := asFile(c.After.Entry)
		row.After = &after
	}
	return row
}

func newDiff(std streams) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "diff SNAPSHOT SNAPSHOT",
		GroupID: "look",
		Short:   "Show what changed between two snapshots",
		Long: `Show what changed from the first snapshot to the second: + is new, - is gone, and ~ has
changed in what is named. A file's data counts as changed when its size or its
time of modification did. Only the indexes of the snapshots are fetched.`,
		Example:           `  backupd diff 20261122T03 20261123T03`,
		Args:              argsBetween(2, 2, "two snapshots"),
		ValidArgsFunction: complete(std, snapshotIDs, 2),
		RunE: withApp(std, func(ctx context.Context, a *app, args []string) error {
			before, err := a.reader(ctx, args[0])
			if err != nil {
				return err
			}
			defer before.Close()
			after, err := a.reader(ctx, args[1])
			if err != nil {
				return err
			}
			defer after.Close()
			return printDiff(ctx, std, before, after, asJSON)
		}),
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	addHosts(c)
	return c
}

func printDiff(ctx context.Context, std streams, before, after *archive.Reader, asJSON bool) error {
	print, end, err := printer(std, "changes", asJSON, asChange, changeLine)
	for c, failed := range archive.Diff(ctx, before, after) {
		if err = errors.Join(err, failed); err != nil {
			break
		}
		err = print(c)
	}
	return errors.Join(err, end())
}

// printer prints things as they come: a line each, or as one JSON document, which is a sound one also when end comes early.
func printer[T, Row any](std streams, name string, asJSON bool, row func(T) Row, line func(T) string) (print func(T) error, end func() error, err error) {
	if !asJSON {
		print = func(item T) error {
			_, err := fmt.Fprintln(std.out, line(item))
			return err
		}
		return print, func() error { return nil }, nil
	}
	list, err := newJSONList(std.out, name)
	return func(item T) error { return list.add(row(item)) }, list.end, err
}

func changeLine(c archive.Change) string {
	switch {
	case c.Before == nil:
		return "+ " + printable(c.Path)
	case c.After == nil:
		return "- " + printable(c.Path)
	default:
		return fmt.Sprintf("~ %s (%s)", printable(c.Path), c.What)
	}
}
