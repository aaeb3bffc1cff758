package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/config"
	"github.com/backupd/backupd/internal/mount"
	"github.com/backupd/backupd/internal/snapshot"
)

// mountCache is how many bytes of what was looked at last stay in memory.
const mountCache = 32 << 20

func newMount(std streams) *cobra.Command {
	var o mount.Options
	c := &cobra.Command{
		Use:     "mount DIR",
		GroupID: "look",
		Short:   "Show all snapshots as folders, read-only",
		Long: `Show all snapshots of this host as folders below DIR, which has to be there and
empty, until Ctrl-C, SIGTERM or "umount DIR" (without being root "fusermount -u"):

  DIR/VOLUME/SNAPSHOT/...     the volume as it was
  DIR/VOLUME/latest           the newest good snapshot of it

With --all-hosts there is a folder for each host above these. Characters of names
other than letters, digits and "-_." are written %XX.

Only what is looked at is fetched: of a folder that part of the index, of a file
the pieces that are read, each checked against its digest before a byte of it is
given. What is damaged is an input/output error, and its reason is in the log; all
else can be read. A snapshot that is encrypted, without a key to it, lets nobody
in. New ones appear, and removed ones go, some ten seconds later: nothing keeps
retention from removing what is being looked at.

Owners, modes, times, symlinks, hard links (as one inode; how many names it has is
not told), holes and devices (which cannot be opened) are as they were. Extended
attributes are shown with --xattrs, which makes listing them slower.

This takes FUSE: /dev/fuse, and without being root the program fusermount3 (of
Debian's package fuse3). In a container that is --device /dev/fuse and --cap-add
SYS_ADMIN, and DIR is seen in it alone.`,
		Example: `  backupd mount /mnt/backups &
  ls /mnt/backups/app
  diff -r /mnt/backups/app/latest/etc /srv/app/etc
  umount /mnt/backups`,
		Args: oneArg("a folder"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: withApp(std, func(ctx context.Context, a *app, args []string) error {
			return a.mount(ctx, args[0], o)
		}),
	}
	c.Flags().BoolVar(&o.AllowOther, "allow-other", false, "let other users look, as far as modes and owners let them; access control lists do not count")
	c.Flags().BoolVar(&o.Xattrs, "xattrs", false, "show extended attributes")
	addHosts(c)
	return c
}

func (a *app) mount(ctx context.Context, dir string, o mount.Options) error {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = errors.Join(mount.CheckPlace(dir), a.outside(dir))
	}
	if err != nil {
		return usage(err)
	}
	parts := archive.NewCache(mountCache)
	for i, t := range a.targets {
		a.targets[i].Catalog = t.Catalog.WithParts(parts)
	}
	o.Hosts, o.Log, o.Now = a.scope.every, a.log, time.Now
	o.Ready = func(dir string) {
		fmt.Fprintf(a.std.err, "%s shows the snapshots of %s, until Ctrl-C or %q\n", printable(dir), a.hosts(), mount.HowToEnd(printable(dir)))
	}
	source := onTargets{a}
	source.unlock(ctx)
	return mount.Run(ctx, dir, source, o)
}

// outside tells whether a folder lies in none of those that backupd itself reads or writes: it would look at what it shows.
func (a *app) outside(dir string) error {
	own := map[string]string{"the state directory": a.cfg.StateDir}
	if a.cfg.Source == config.Dir {
		own["the folder of volumes"] = a.cfg.VolumesDir
	}
	for _, t := range a.cfg.Targets {
		if t.URL.Scheme == "file" {
			own["target "+t.Name] = t.URL.Path
		}
	}
	for what, path := range own {
		if liesIn(real(path), real(dir)) {
			return fmt.Errorf("%s lies in %s (%s): name a folder elsewhere", dir, what, path)
		}
	}
	return nil
}

// real is a path without symlinks, as far as it is there.
func real(path string) string {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		return resolved
	}
	return filepath.Clean(path)
}

func liesIn(folder, path string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/")
}

// onTargets is what there is on all targets, as mount shows it.
type onTargets struct{ *app }

// unlock has a passphrase asked for before anything is shown: a program in the background that asks for one is stopped, and with it whoever
// looks. What is wrong with the key is told when it is wanted.
func (s onTargets) unlock(ctx context.Context) {
	if s.cfg.Identity == "" {
		return
	}
	rows, _ := s.rows(ctx, nil) // what cannot be listed is told by who shows it
	for _, r := range slices.Backward(rows) {
		if !r.Encrypted {
			continue
		}
		if opened, err := s.Open(ctx, snapshot.Ref{Host: r.Host, Volume: r.Volume, ID: r.ID}); err == nil {
			opened.Close()
		}
		return
	}
}

// Snapshots gives each snapshot once, whatever number of targets has it.
func (s onTargets) Snapshots(ctx context.Context) ([]mount.Snapshot, error) {
	rows, err := s.rows(ctx, nil)
	var all []mount.Snapshot
	place := map[snapshot.Ref]int{}
	for _, r := range rows {
		ref := snapshot.Ref{Host: r.Host, Volume: r.Volume, ID: r.ID}
		i, known := place[ref]
		if !known {
			i = len(all)
			place[ref] = i
			all = append(all, mount.Snapshot{Ref: ref, Taken: r.Taken})
		}
		all[i].Good = all[i].Good || r.Good
	}
	return all, err
}

// Open opens a snapshot on the first target where that works.
func (s onTargets) Open(ctx context.Context, ref snapshot.Ref) (r *archive.Reader, err error) {
	copies, unlisted := s.stored(ctx, catalog.Query{Host: ref.Host, Volumes: []string{ref.Volume}, ID: string(ref.ID)})
	used, unread := firstCopy(ctx, copies, func(c stored) error {
		r, err = c.target.Catalog.Open(ctx, c.Manifest)
		return err
	})
	switch {
	case used >= 0 && unread != nil:
		s.log.Warn("a snapshot is read from another target", "snapshot", ref.ID, "target", copies[used].target.Name, "err", unread)
	case used >= 0:
	case len(copies) == 0 && unlisted == nil:
		return nil, fmt.Errorf("snapshot %s of volume %q: it was removed: %w", ref.ID, ref.Volume, fs.ErrNotExist)
	default:
		return nil, errors.Join(unread, unlisted)
	}
	return r, nil
}
