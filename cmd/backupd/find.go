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

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/history"
	"github.com/backupd/backupd/internal/snapshot"
)

// foundRow is a file, or whatever it is, in the output of find.
type foundRow struct {
	Volume   string       `json:"volume"`
	Host     string       `json:"host"`
	Path     string       `json:"path"`
	Versions []versionRow `json:"versions"` // in the order in which they first were there
	Gone     []foundInRow `json:"gone"`     // that do not have it, after an earlier one that has
}

// versionRow is what a file was in some snapshots.
type versionRow struct {
	statRow
	Snapshots []foundInRow `json:"snapshots"` // oldest first
}

// foundInRow is a snapshot that was looked into.
type foundInRow struct {
	ID      snapshot.ID `json:"id"`
	Taken   time.Time   `json:"taken"`
	Targets []string    `json:"targets"`
}

func newFind(std streams) *cobra.Command {
	var volumes []string
	var asJSON bool
	c := &cobra.Command{
		Use:     "find NAME",
		GroupID: "look",
		Short:   "Say which snapshots have a file, and in how many versions",
		Long: `Say of each path that NAME means in which snapshots it is, and in how many
versions. Without a slash NAME is one in any folder; with one it is a path from
the top of the volume. Either may be a pattern, with ** for any depth.

A version is the same kind of thing with the same size and time of modification
(and of a symlink, what it says), as in "backupd diff". Of each it is told how
many snapshots have it, the first and the last of them, and on which targets that
one is; "gone" are snapshots without the file after one that had it. Only the
indexes of the snapshots are fetched.

A snapshot that cannot be read on the first target that has it is read from the
next; where it is damaged, or locked, on all of them, it is told, and counts
neither as one that has the file nor as one that has not. Then the exit code is 4
for damage, else 3. It is 1 when nothing was found.`,
		Example: `  backupd find app.conf
  backupd find 'etc/**/*.conf' --volume app
  backupd find app.conf --json | jq -r '.files[].versions[-1].snapshots[-1].id'`,
		Args:              oneArg("a file, or a pattern"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: withApp(std, func(ctx context.Context, a *app, args []string) error {
			pattern, err := namePattern(args[0])
			if err != nil {
				return err
			}
			return a.findFiles(ctx, pattern, volumes, asJSON)
		}),
	}
	c.Flags().StringArrayVar(&volumes, "volume", nil, "only of this `VOLUME`; may be repeated")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	completeFlag(c, std, "volume", storedVolumes)
	addHosts(c)
	return c
}

// namePattern is the pattern of paths that a name means.
func namePattern(name string) (string, error) {
	if name != "" && !strings.Contains(name, "/") {
		name = "**/" + name
	}
	return name, usage(archive.ValidateGlob(name))
}

// search is a find that is under way.
type search struct {
	*app
	pattern string
	scratch string // folder
	print   func(foundRow) error
	found   int // files
	read    int // snapshots
	unread  []error
	damaged bool
}

func (a *app) findFiles(ctx context.Context, pattern string, volumes []string, asJSON bool) error {
	spool, err := a.spool()
	if err != nil {
		return err
	}
	print, end, err := printer(a.std, "files", asJSON, func(r foundRow) foundRow { return r }, a.foundText)
	if err != nil {
		return err
	}
	s := search{app: a, pattern: pattern, scratch: spool.Dir, print: print}
	err = s.volumes(ctx, volumes)
	return errors.Join(err, end(), s.verdict(err))
}

// volumes looks through one volume after the other, of which the manifests fit into memory.
func (s *search) volumes(ctx context.Context, names []string) error {
	rows, err := s.rows(ctx, names)
	if err != nil {
		s.unread = append(s.unread, err)
	}
	var all []snapshot.Ref
	for _, r := range rows {
		all = append(all, snapshot.Ref{Host: r.Host, Volume: r.Volume})
	}
	slices.SortFunc(all, func(x, y snapshot.Ref) int {
		return cmp.Or(strings.Compare(x.Host, y.Host), strings.Compare(x.Volume, y.Volume))
	})
	for _, v := range slices.Compact(all) {
		if err := s.volume(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

// volume prints what one volume has.
func (s *search) volume(ctx context.Context, v snapshot.Ref) error {
	copies, err := s.stored(ctx, catalog.Query{Host: v.Host, Volumes: []string{v.Volume}})
	if err != nil && len(s.unread) == 0 { // else it was told when all were listed
		s.unread = append(s.unread, err)
	}
	h := history.New(s.scratch)
	defer h.Close()
	var in []foundInRow
	for _, copies := range bySnapshot(copies) {
		targets, err := s.add(ctx, h, copies)
		if err != nil {
			return err
		}
		if len(targets) > 0 {
			in = append(in, foundInRow{copies[0].ID, copies[0].Taken, targets})
		}
	}
	for f, err := range h.Files() {
		if err != nil {
			return err
		}
		s.found++
		if err := s.print(asFound(v, f, in)); err != nil {
			return err
		}
	}
	return nil
}

// add takes a snapshot into the history, from the first target where that works, and gives the targets that have it; none if it cannot be read.
func (s *search) add(ctx context.Context, h *history.History, copies []stored) (targets []string, err error) {
	used, unread := firstCopy(ctx, copies, func(c stored) error {
		r, err := c.target.Catalog.Open(ctx, c.Manifest)
		if err != nil {
			return err
		}
		defer r.Close()
		return h.Add(r.Matching(ctx, s.pattern))
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s.damaged = s.damaged || errors.Is(unread, archive.ErrDamaged)
	if used < 0 {
		s.unread = append(s.unread, unread)
		return nil, nil
	}
	if unread != nil {
		s.log.Warn("a snapshot was read from another target", "snapshot", copies[used].ID, "target", copies[used].target.Name, "err", unread)
	}
	s.read++
	for _, c := range copies[used:] {
		targets = append(targets, c.target.Name)
	}
	return targets, nil
}

// verdict is the error of what was not found and not read, unless the search broke off for another.
func (s *search) verdict(broken error) error {
	err := errors.Join(s.unread...)
	switch {
	case broken != nil:
		return nil
	case s.damaged:
		return coded{cmp.Or(err, errAnotherCopy), exitDamaged}
	case err != nil && s.read > 0:
		return coded{err, exitSome}
	case err != nil:
		return err
	case s.found == 0:
		return fmt.Errorf("no snapshot of %s has %q (%d were looked into)", s.hosts(), strings.TrimPrefix(s.pattern, "**/"), s.read)
	}
	return nil
}

var errAnotherCopy = fmt.Errorf("what is damaged was read from another target: %w", archive.ErrDamaged)

// bySnapshot gathers the copies of each snapshot, in the order of the targets.
func bySnapshot(all []stored) (groups [][]stored) {
	place := map[snapshot.Ref]int{}
	for _, s := range all {
		i, known := place[s.Ref()]
		if !known {
			i = len(groups)
			place[s.Ref()] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], s)
	}
	return groups
}

// firstCopy tries the copies of a snapshot one after the other, those that are known to be damaged last, until one can be used, which is below 0 if
// none can. The error is why others could not.
func firstCopy(ctx context.Context, copies []stored, use func(stored) error) (used int, unread error) {
	known := func(s stored) int { return min(len(s.Proof.Damaged), 1) }
	slices.SortStableFunc(copies, func(x, y stored) int { return known(x) - known(y) })
	for i, c := range copies {
		err := use(c)
		if err == nil {
			return i, unread
		}
		unread = errors.Join(unread, fmt.Errorf("target %s: %w", c.target.Name, err))
		if ctx.Err() != nil {
			break
		}
	}
	return -1, unread
}

func asFound(v snapshot.Ref, f history.File, in []foundInRow) foundRow {
	row := foundRow{Volume: v.Volume, Host: v.Host, Path: f.Path, Gone: within(in, f.Gone)}
	for _, version := range f.Versions {
		row.Versions = append(row.Versions, versionRow{asStat(version.Entry), within(in, version.In)})
	}
	return row
}

// within gives the snapshots of all these spans.
func within(in []foundInRow, spans []history.Span) []foundInRow {
	rows := []foundInRow{}
	for _, s := range spans {
		rows = append(rows, in[s.First:s.Last+1]...)
	}
	return rows
}

// foundText is a file for people: a headline, and a line for each version.
func (a *app) foundText(f foundRow) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of volume %s: %s\n", printable(f.Path), a.volumeName(f.Host, f.Volume), counted(len(f.Versions), "version"))
	t := newTable(&b, "  SIZE", "MODIFIED", "SNAPSHOTS", "FIRST", "LAST", "TARGETS")
	for _, v := range f.Versions {
		t.found("  "+versionSize(v.statRow), moment(v.Modified), v.Snapshots)
	}
	if len(f.Gone) > 0 {
		t.found("  gone", "-", f.Gone)
	}
	_ = t.flush() // into memory
	return b.String()
}

func (t table) found(size, modified string, in []foundInRow) {
	first, last := in[0], in[len(in)-1]
	t.row(size, modified, fmt.Sprint(len(in)), string(first.ID), string(last.ID), strings.Join(last.Targets, ","))
}

// versionSize is the size of a file, and the kind of what is none.
func versionSize(s statRow) string {
	if s.Kind != archive.File.String() {
		return s.Kind
	}
	return short(s.Size)
}

func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
