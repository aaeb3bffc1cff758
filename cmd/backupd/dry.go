package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/restore"
)

// restoreDry says what a restore would do.
func (a *app) restoreDry(ctx context.Context, chosen stored, req restore.Request, f restoreFlags) error {
	print, end, err := printer(a.std, "changes", f.asJSON, asChange, changeLine)
	if err != nil {
		return err
	}
	c, err := a.compare(ctx, chosen, req, f, print)
	if err := errors.Join(err, end()); err != nil {
		return err
	}
	where := "folder " + f.toDir
	switch {
	case f.toVolume != "":
		where = "volume " + printable(f.toVolume)
	case f.inPlace && len(f.paths) > 0:
		where = "volume " + printable(chosen.Volume) + ", among what it holds"
	case f.inPlace:
		where = "volume " + printable(chosen.Volume) + ", in place of what it holds"
	}
	fmt.Fprintf(a.std.err, "would restore %s of snapshot %s (taken %s) to %s: %s; nothing was written\n", size(c.Bytes), chosen.ID, moment(chosen.Taken), where, tally(c))
	switch {
	case f.inPlace:
		return a.tellStops(ctx, chosen.Volume)
	case c.Filled:
		fmt.Fprintln(a.std.err, "but it is not empty: this would be refused, or leave it as it is with --if-empty")
	}
	return nil
}

// compare gives what a restore would change of what is there to a function, one by one.
func (a *app) compare(ctx context.Context, chosen stored, req restore.Request, f restoreFlags, each func(archive.Change) error) (restore.Comparison, error) {
	if f.toDir != "" {
		return restore.CompareDir(ctx, req, f.toDir, each)
	}
	src, err := a.source(ctx)
	if err != nil {
		return restore.Comparison{}, err
	}
	volume := f.toVolume
	if f.inPlace {
		volume = chosen.Volume
		if _, err := src.Volume(ctx, volume); err != nil {
			return restore.Comparison{}, notThere(volume, err)
		}
	}
	return a.restorer(src).CompareVolume(ctx, req, volume, each)
}

// tally is what a restore would come to, in words.
func tally(c restore.Comparison) string {
	return fmt.Sprintf("%d new, %d changed, %d gone, %d the same", c.New, c.Changed, c.Gone, c.Same)
}

func notThere(volume string, err error) error {
	return fmt.Errorf("restore in place: %w: to make the volume anew, use --to-volume %s", err, volume)
}

// tellStops says which containers a restore in place would stop, or why it would be refused.
func (a *app) tellStops(ctx context.Context, volume string) error {
	src, err := a.source(ctx)
	if err != nil {
		return err
	}
	v, err := src.Volume(ctx, volume)
	if err != nil {
		return fmt.Errorf("restore in place: %w", err)
	}
	scene, err := a.scene(ctx, src)
	if err != nil {
		return err
	}
	req := quiesce.Request{Volumes: []engine.Volume{v}, Readers: true}
	stops, err := quiesce.Prepare(ctx, src, req, scene)
	if err != nil {
		return fmt.Errorf("restore in place: %w", err)
	}
	for _, step := range stops.Steps {
		if step.How == quiesce.Scale {
			fmt.Fprintf(a.std.err, "would scale service %s to nothing, and back to %d\n", printable(step.Container.Name), step.Replicas)
		} else {
			fmt.Fprintf(a.std.err, "would stop container %s, and start it again\n", printable(step.Container.Name))
		}
	}
	return nil
}
