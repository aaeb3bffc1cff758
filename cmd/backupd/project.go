package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/project"
	"github.com/backupd/backupd/internal/restore"
	"github.com/backupd/backupd/internal/spelling"
)

// member is a volume of a project, with the snapshot that it goes back to.
type member struct {
	stored
	newest time.Time // of its good snapshots
	there  restore.Place
}

// restoreProject restores all volumes of a compose project.
func (a *app) restoreProject(ctx context.Context, f restoreFlags) error {
	name, when, err := a.parseWhen("project", f.project)
	if err != nil {
		return err
	}
	if when.Named() {
		return usagef("--project: each volume has ids of its own: write %s@ and a time", name)
	}
	if err := a.only(f.from); err != nil {
		return err
	}
	volumes, err := a.volumesOf(ctx, name)
	if err != nil {
		return err
	}
	return a.underLock(ctx, func() error {
		members, err := a.members(ctx, volumes, when)
		if err != nil {
			return err
		}
		src, err := a.source(ctx)
		if err != nil {
			return err
		}
		if err := a.lookAt(ctx, src, members, f); err != nil {
			return err
		}
		if err := a.tellMembers(name, members); err != nil || f.dryRun {
			return err
		}
		return a.restoreMembers(ctx, name, members, f)
	}, volumes...)
}

// volumesOf names the volumes of a project, by the newest snapshot of each.
func (a *app) volumesOf(ctx context.Context, name string) (volumes []string, err error) {
	newest, err := a.newest(ctx)
	if err != nil {
		return nil, err
	}
	var known []string
	for _, volume := range slices.Sorted(maps.Keys(newest)) {
		facts, err := newest[volume].target.Catalog.Facts(newest[volume].Manifest)
		if err != nil {
			return nil, fmt.Errorf("find out whether volume %q is of project %q: %w", volume, name, err)
		}
		projects := project.Of(facts)
		known = append(known, projects...)
		if slices.Contains(projects, name) {
			volumes = append(volumes, volume)
		}
	}
	if len(volumes) == 0 {
		return nil, a.noProject(name, known)
	}
	return volumes, nil
}

// newest gives the last snapshot of each volume, good or not.
func (a *app) newest(ctx context.Context) (map[string]stored, error) {
	all, err := a.snapshots(ctx, nil)
	if err != nil && len(all) == 0 {
		return nil, err
	}
	if err != nil {
		a.log.Warn("not every snapshot could be looked at", "err", err)
	}
	newest := map[string]stored{}
	for _, s := range all { // oldest first
		newest[s.Volume] = s
	}
	return newest, nil
}

func (a *app) noProject(name string, known []string) error {
	slices.Sort(known)
	known = slices.Compact(known)
	hint := "none of its snapshots is of a compose project"
	if nearest := spelling.Nearest(name, known); nearest != "" {
		hint = fmt.Sprintf("did you mean %q?", nearest)
	} else if len(known) > 0 {
		hint = fmt.Sprintf("there are some of %q", known)
	}
	return fmt.Errorf("there are no snapshots of a project %q on %s: %s", name, a.hosts(), hint)
}

// members chooses a snapshot of each volume, so that all are of one moment if that can be.
func (a *app) members(ctx context.Context, volumes []string, when catalog.When) ([]member, error) {
	all, err := a.snapshots(ctx, volumes)
	if err != nil {
		a.log.Warn("not every snapshot could be looked at", "err", err)
	}
	good := map[string][]stored{}
	for _, s := range all {
		if when.Admits(s.Snapshot) {
			good[s.Volume] = append(good[s.Volume], s)
		}
	}
	var choices []project.Volume
	var errs []error
	for _, volume := range volumes {
		if len(good[volume]) == 0 {
			_, err := when.Pick(ofOne(all, volume))
			errs = append(errs, fmt.Errorf("volume %q: %w", volume, err))
			continue
		}
		choices = append(choices, project.Volume{Name: volume, Moments: moments(good[volume])})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%w\nnothing was restored: restore such a volume by the id of a snapshot, or each of the others by itself", err)
	}
	chosen := project.Choose(choices)
	var members []member
	for _, volume := range volumes {
		snapshots := good[volume]
		i := slices.IndexFunc(snapshots, func(s stored) bool { return s.Taken.Equal(chosen[volume]) })
		members = append(members, member{stored: snapshots[i], newest: snapshots[len(snapshots)-1].Taken})
	}
	return members, nil
}

func ofOne(all []stored, volume string) (some []catalog.Snapshot) {
	for _, s := range all {
		if s.Volume == volume {
			some = append(some, s.Snapshot)
		}
	}
	return some
}

func moments(all []stored) (moments []time.Time) {
	for _, s := range all {
		moments = append(moments, s.Taken)
	}
	return moments
}

// lookAt fails before anything is written where not all volumes can be restored.
func (a *app) lookAt(ctx context.Context, src source, members []member, f restoreFlags) error {
	r := a.restorer(src)
	var errs []error
	var filled []string
	for i := range members {
		m := &members[i]
		var err error
		if m.there, err = r.Look(ctx, request(m.stored, f), m.Volume); err != nil {
			errs = append(errs, ofVolume{m.Volume, err})
		}
		if m.there == restore.Filled {
			filled = append(filled, m.Volume)
		}
	}
	if len(filled) > 0 && !f.ifEmpty {
		errs = append(errs, fmt.Errorf("volumes %q are %w: remove those whose data are not wanted, or leave them as they are with --if-empty, which restores the others", filled, restore.ErrNotEmpty))
	}
	return errors.Join(errs...)
}

// tellMembers says which snapshots were chosen, and what that gives up.
func (a *app) tellMembers(name string, members []member) error {
	first, last := spanOf(members)
	if first.Equal(last) {
		fmt.Fprintf(a.std.err, "project %s as of %s (%s), all volumes of this one moment\n", printable(name), moment(last), ago(last, a.now()))
	} else {
		fmt.Fprintf(a.std.err, "project %s as of %s (%s); its volumes are of moments up to %s apart, as they were not held together\n",
			printable(name), moment(first), ago(first, a.now()), last.Sub(first).Round(time.Second))
	}
	t := newTable(a.std.out, "VOLUME", "SNAPSHOT", "TAKEN", "SIZE", "GRADE", "FROM", "TO")
	for _, m := range members {
		to := map[restore.Place]string{restore.Absent: "a new volume", restore.Empty: "the empty volume", restore.Filled: "nothing, as it is not empty", restore.InMemory: "nothing, as it lies in memory"}
		t.row(m.Volume, string(m.ID), moment(m.Taken), short(m.Contents.Bytes), graded(m.Manifest), m.target.Name, to[m.there])
	}
	err := t.flush()
	for _, m := range members {
		if m.there == restore.InMemory {
			fmt.Fprintf(a.std.err, "volume %s is empty whenever nothing runs on it: once its containers run, restore %[1]s@%s --in-place\n", printable(m.Volume), m.ID)
		}
		if m.newest.After(m.Taken) {
			fmt.Fprintf(a.std.err, "volume %s has a newer snapshot, of %s, which does not go with the others\n", printable(m.Volume), moment(m.newest))
		}
	}
	return err
}

func spanOf(members []member) (first, last time.Time) {
	byTaken := func(x, y member) int { return x.Taken.Compare(y.Taken) }
	return slices.MinFunc(members, byTaken).Taken, slices.MaxFunc(members, byTaken).Taken
}

// restoreMembers restores one volume after the other, and goes on with the others when one fails. Nothing half-filled stays.
func (a *app) restoreMembers(ctx context.Context, name string, members []member, f restoreFlags) error {
	var lacking []string
	var errs []error
	for _, m := range members {
		if m.there == restore.InMemory {
			continue
		}
		f.toVolume = m.Volume
		err := context.Cause(ctx)
		if err == nil {
			err = a.restoreFor(ctx, m.stored, request(m.stored, f), f)
		}
		if err != nil {
			lacking = append(lacking, m.Volume)
			errs = append(errs, ofVolume{m.Volume, err})
		}
	}
	if len(errs) == 0 {
		fmt.Fprintf(a.std.out, "project %s is restored: start it with docker compose up -d\n", printable(name))
		return nil
	}
	_, last := spanOf(members)
	errs = append(errs, fmt.Errorf("volumes %q of %d were not restored; when that is mended, restore what is lacking, of the same moment, with --project %s@%s --if-empty",
		lacking, len(members), name, last.UTC().Format(time.RFC3339)))
	err := errors.Join(errs...)
	if len(lacking) < len(members) {
		err = coded{err, exitSome}
	}
	return err
}

// projectNames are those of all projects that have snapshots.
func projectNames(ctx context.Context, a *app) (names []string) {
	newest, err := a.newest(ctx)
	if err != nil {
		return nil
	}
	for _, s := range newest {
		if facts, err := s.target.Catalog.Facts(s.Manifest); err == nil {
			names = append(names, project.Of(facts)...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
