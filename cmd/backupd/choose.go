package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/restore"
	"github.com/backupd/backupd/internal/spelling"
)

// restoreAsking asks for all that a restore has to know, says what it will do, and does it when told to.
func (a *app) restoreAsking(ctx context.Context, d *dialogue, f restoreFlags) error {
	if err := a.only(f.from); err != nil {
		return err
	}
	all, err := a.snapshots(ctx, nil)
	if err != nil && len(all) == 0 {
		return err
	}
	if err != nil {
		a.log.Warn("not every snapshot could be looked at", "err", err)
	}
	if len(all) == 0 {
		return a.noSnapshots(nil)
	}
	fmt.Fprint(a.std.err, "Answer by a number, or by what it stands for. Nothing is written before you say yes; q ends it.\n"+
		"(All volumes of a compose project at once: backupd restore --project NAME)\n\n")
	volume, err := a.askVolume(ctx, d, all)
	if err != nil {
		return err
	}
	chosen, err := a.askSnapshot(ctx, d, slices.DeleteFunc(all, func(s stored) bool { return s.Volume != volume }))
	if err != nil {
		return err
	}
	if err := a.askWhere(ctx, d, chosen, &f); err != nil {
		return err
	}
	if err := a.tellIntent(ctx, chosen, f); err != nil {
		return err
	}
	if answer, err := d.ask(ctx, "\nGo ahead? Type yes", ""); err != nil || answer != "yes" {
		return errors.Join(err, quitUnless(err))
	}
	return a.restore(ctx, volume+"@"+string(chosen.ID), f)
}

// quitUnless is for who has said no.
func quitUnless(err error) error {
	if err != nil {
		return nil
	}
	return errQuit
}

func (a *app) askVolume(ctx context.Context, d *dialogue, all []stored) (string, error) {
	var names []string
	snapshots := map[string][]stored{}
	for _, s := range all {
		if snapshots[s.Volume] == nil {
			names = append(names, s.Volume)
		}
		snapshots[s.Volume] = append(snapshots[s.Volume], s)
	}
	slices.Sort(names)
	t := newTable(a.std.err, "", "VOLUME", "SNAPSHOTS", "NEWEST", "SIZE")
	for i, name := range names {
		of := copiesOf(snapshots[name])
		last := of[0][0]
		t.row(strconv.Itoa(i+1), name, strconv.Itoa(len(of)), ago(last.Taken, a.now()), short(last.Contents.Bytes))
	}
	if err := t.flush(); err != nil {
		return "", err
	}
	assumed := ""
	if len(names) == 1 {
		assumed = names[0]
	}
	return askUntil(ctx, d, "Which volume", assumed, func(answer string) (string, error) {
		if n, err := strconv.Atoi(answer); err == nil && n >= 1 && n <= len(names) {
			return names[n-1], nil
		}
		if slices.Contains(names, answer) {
			return answer, nil
		}
		if nearest := spelling.Nearest(answer, names); nearest != "" {
			return "", fmt.Errorf("there is no volume %q: did you mean %q?", answer, nearest)
		}
		return "", fmt.Errorf("there is no volume %q", answer)
	})
}

// copiesOf gathers the snapshots of a volume, which come oldest first: the newest first, with all of its copies.
func copiesOf(all []stored) (snapshots [][]stored) {
	for _, s := range slices.Backward(all) {
		i := slices.IndexFunc(snapshots, func(copies []stored) bool { return copies[0].Ref() == s.Ref() })
		if i < 0 {
			snapshots, i = append(snapshots, nil), len(snapshots)
		}
		snapshots[i] = slices.Insert(snapshots[i], 0, s)
	}
	return snapshots
}

// shown is how many snapshots are shown of a volume that has more.
const shown = 20

func (a *app) askSnapshot(ctx context.Context, d *dialogue, all []stored) (stored, error) {
	snapshots := copiesOf(all)
	if err := a.printChoices(snapshots[:min(shown, len(snapshots))]); err != nil {
		return stored{}, err
	}
	if more := len(snapshots) - shown; more > 0 {
		fmt.Fprintf(a.std.err, "and %d older ones\n", more)
	}
	fmt.Fprintln(a.std.err, "An id does as well, and so does a time: 2h, yesterday, 2026-11-20T14:00.")
	assumed := ""
	if latest, err := pick(all, catalog.When{}); err == nil {
		assumed = string(latest.ID)
	}
	return askUntil(ctx, d, "Which snapshot", assumed, func(answer string) (stored, error) {
		if n, err := strconv.Atoi(answer); err == nil && n >= 1 && n <= min(shown, len(snapshots)) {
			return firstGood(snapshots[n-1]), nil
		}
		when, err := catalog.ParseWhen(answer, a.now(), time.Local)
		if err != nil {
			return stored{}, err
		}
		return pick(all, when)
	})
}

// firstGood is the copy that a restore would read.
func firstGood(copies []stored) stored {
	i := slices.IndexFunc(copies, func(s stored) bool { return s.Good() })
	return copies[max(i, 0)]
}

func (a *app) printChoices(snapshots [][]stored) error {
	fmt.Fprintln(a.std.err)
	t := newTable(a.std.err, "", "SNAPSHOT", "AGE", "SIZE", "GRADE", "TARGETS", "")
	for i, copies := range snapshots {
		var rows []snapshotRow
		for _, s := range copies {
			rows = append(rows, row(s))
		}
		s := copies[0]
		t.row(strconv.Itoa(i+1), string(s.ID), age(s.Taken, a.now()), short(s.Contents.Bytes), gradedCopies(rows), places(rows), a.remark(firstGood(copies)))
	}
	return t.flush()
}

// remark is what there is to say about a snapshot.
func (a *app) remark(s stored) string {
	word := doubt(s)
	if at := s.Proven().At; word == "" && !at.IsZero() {
		word = "a drill restored it " + ago(at, a.now())
	}
	return word
}

// doubt says why a snapshot does not count.
func doubt(s stored) string {
	switch {
	case s.Proof.Damaged != "":
		return "DAMAGED: " + s.Proof.Damaged
	case s.Suspect != "":
		return "SUSPECT: " + s.Suspect
	case s.DrillFailed():
		return "FAILED its drill: it was not found to be restorable"
	case !s.Good():
		return "does not count: data may have moved while it was read"
	}
	return ""
}

// askWhere asks for the destination until it is one that a restore can go to.
func (a *app) askWhere(ctx context.Context, d *dialogue, chosen stored, f *restoreFlags) error {
	src, err := a.source(ctx)
	there := false
	if err == nil {
		_, missing := src.Volume(ctx, chosen.Volume)
		there = missing == nil
	} else {
		fmt.Fprintf(a.std.err, "volumes are out of reach: %s\n", printable(err.Error()))
	}
	ways := []way{{"a folder", (*app).askFolder}}
	if err == nil {
		ways = slices.Insert(ways, 0, way{"a volume that is empty, or not there yet", (*app).askTarget})
	}
	if there {
		ways = slices.Insert(ways, 0, way{"in place of what volume " + printable(chosen.Volume) + " holds now; what runs on it is stopped meanwhile", (*app).askNothing})
	}
	fmt.Fprintln(a.std.err)
	for i, w := range ways {
		fmt.Fprintf(a.std.err, "%d  %s\n", i+1, w.words)
	}
	n, err := askUntil(ctx, d, "Where to", "", func(answer string) (int, error) {
		if n, err := strconv.Atoi(answer); err == nil && n >= 1 && n <= len(ways) {
			return n - 1, nil
		}
		return 0, fmt.Errorf("type a number from 1 to %d", len(ways))
	})
	if err != nil {
		return err
	}
	return ways[n].ask(a, ctx, d, chosen, f)
}

// way is a kind of destination, and what has to be asked about it.
type way struct {
	words string
	ask   func(a *app, ctx context.Context, d *dialogue, chosen stored, f *restoreFlags) error
}

func (a *app) askNothing(_ context.Context, _ *dialogue, _ stored, f *restoreFlags) error {
	f.inPlace = true
	return nil
}

func (a *app) askTarget(ctx context.Context, d *dialogue, chosen stored, f *restoreFlags) error {
	src, err := a.source(ctx)
	if err != nil {
		return err
	}
	req := request(chosen, *f)
	assumed := chosen.Volume
	if there, err := a.restorer(src).Look(ctx, req, assumed); err != nil || there == restore.Filled || there == restore.InMemory {
		assumed = ""
	}
	f.toVolume, err = askUntil(ctx, d, "Name of the volume", assumed, func(name string) (string, error) {
		if name == "" {
			return "", errors.New("type a name")
		}
		there, err := a.restorer(src).Look(ctx, req, name)
		switch there {
		case restore.Filled:
			err = errors.Join(err, fmt.Errorf("volume %q is %w", name, restore.ErrNotEmpty))
		case restore.InMemory:
			err = errors.Join(err, fmt.Errorf("volume %q lies in memory: start what uses it, and restore it in place", name))
		}
		return name, err
	})
	return err
}

func (a *app) askFolder(ctx context.Context, d *dialogue, _ stored, f *restoreFlags) (err error) {
	f.toDir, err = askUntil(ctx, d, "Path of the folder, which is empty or not there yet", "", func(path string) (string, error) {
		if path == "" {
			return "", errors.New("type a path")
		}
		names, err := os.ReadDir(path)
		if len(names) > 0 {
			return "", fmt.Errorf("folder %s is %w", path, restore.ErrNotEmpty)
		}
		if os.IsNotExist(err) {
			err = nil
		}
		return path, err
	})
	return err
}

// tellIntent says what a restore will do, before it does it.
func (a *app) tellIntent(ctx context.Context, chosen stored, f restoreFlags) error {
	verbs := []string{fmt.Sprintf("read %s from target %s, and check every byte", size(chosen.ReadBytes()), chosen.target.Name)}
	what := fmt.Sprintf("%s, %d entries, of %s (%s)", size(chosen.Contents.Bytes), chosen.Contents.Entries, moment(chosen.Taken), ago(chosen.Taken, a.now()))
	switch {
	case f.toDir != "":
		verbs = append(verbs, fmt.Sprintf("write %s to folder %s", what, printable(f.toDir)))
	case f.toVolume != "":
		verbs = append(verbs, fmt.Sprintf("write %s to volume %s, which is made as %s was if it is not there", what, printable(f.toVolume), printable(chosen.Volume)))
	default:
		c, err := a.compare(ctx, chosen, request(chosen, f), f, func(archive.Change) error { return nil })
		if err != nil {
			return err
		}
		verbs = append(verbs, fmt.Sprintf("put %s in place of all that volume %s holds now: %s (--dry-run lists them)", what, printable(chosen.Volume), tally(c)),
			fmt.Sprintf("keep what is replaced, for \"backupd undo %s\"", printable(chosen.Volume)))
	}
	if word := doubt(chosen); word != "" {
		verbs = append(verbs, "go on although this snapshot counts for nothing: "+printable(word))
	}
	fmt.Fprintf(a.std.err, "\nThis will\n  - %s\n", strings.Join(verbs, "\n  - "))
	if f.inPlace {
		return a.tellStops(ctx, chosen.Volume)
	}
	return nil
}
