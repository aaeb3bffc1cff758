package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// candidates gives what an argument could be, for a shell that completes it. What cannot be found out is left out.
type candidates func(ctx context.Context, a *app) []string

// complete makes a shell complete up to most arguments, or any number when most is 0.
func complete(std streams, of candidates, most int) cobra.CompletionFunc {
	const patience = 3 * time.Second // of somebody who pressed tab
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(c.Context(), patience)
		defer cancel()
		scope, err := scopeOf(c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		a, err := newApp(ctx, streams{in: std.in, out: io.Discard, err: &console{w: io.Discard}})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		a.scope = scope
		// A name that is not fit for a terminal is not fit for a command line either.
		unfit := func(s string) bool { return printable(s) != s }
		return slices.DeleteFunc(of(ctx, a), unfit), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag makes a shell complete the value of a flag.
func completeFlag(c *cobra.Command, std streams, name string, of candidates) {
	if err := c.RegisterFlagCompletionFunc(name, complete(std, of, 0)); err != nil {
		panic(err) // there is no such flag
	}
}

// volumeNames are those of enrolled volumes.
func volumeNames(ctx context.Context, a *app) (names []string) {
	_, volumes, err := a.enrolled(ctx)
	if err != nil {
		return nil
	}
	for _, v := range volumes {
		names = append(names, v.Name)
	}
	return names
}

// targetNames are those of all targets.
func targetNames(_ context.Context, a *app) (names []string) {
	for _, t := range a.targets {
		names = append(names, t.Name)
	}
	return names
}

// storedVolumes are the names of volumes with snapshots.
func storedVolumes(ctx context.Context, a *app) (names []string) {
	all, err := a.snapshots(ctx, nil)
	if err != nil && len(all) == 0 {
		return nil
	}
	for _, s := range all {
		names = append(names, s.Volume)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// snapshotIDs are the ids of snapshots, each with what it is of, which shells show beside it.
func snapshotIDs(ctx context.Context, a *app) (ids []string) {
	all, err := a.snapshots(ctx, nil)
	if err != nil && len(all) == 0 {
		return nil
	}
	for _, s := range all {
		ids = append(ids, fmt.Sprintf("%s\t%s, %s", s.ID, printable(s.Volume), ago(s.Taken, a.now())))
	}
	return slices.Compact(ids) // copies on several targets follow each other
}
