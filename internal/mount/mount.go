// Package mount shows snapshots as folders, read-only, by FUSE (Linux, Documentation/filesystems/fuse). It leaves to others where snapshots
// come from and which there are.
//
//	DIR/<volume>/<id>/...             the volume as it was
//	DIR/<volume>/latest               a symlink to the newest good snapshot
//	DIR/<host>/<volume>/...           with a folder for each host
//
// Names of hosts and volumes are escaped as in keys (snapshot.Escape). Nothing is remembered for what the kernel knows: the number of a node
// says where the entry stands in the index of its archive. So memory does not grow with what is looked at: it is that of a few open indexes
// and of the cache that their readers share.
package mount

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/snapshot"
)

// Snapshot is one to show.
type Snapshot struct {
	snapshot.Ref
	Taken time.Time
	Good  bool // "latest" is one of these
}

// Source is where snapshots come from. It is called from several goroutines at once.
type Source interface {
	// Snapshots gives those that there are. With an error it gives those that could be listed.
	Snapshots(ctx context.Context) ([]Snapshot, error)
	// Open opens one of them. One that is encrypted, without a key to it, is seal.ErrLocked.
	Open(ctx context.Context, ref snapshot.Ref) (*archive.Reader, error)
}

// Options say how to show them.
type Options struct {
	Hosts      bool // a folder for each host
	AllowOther bool // users other than this one may look, as far as modes and owners let them
	Xattrs     bool // extended attributes too, for which a frame is fetched for each file that is asked for them
	Log        *slog.Logger
	Now        func() time.Time
	Ready      func(dir string) // is called once DIR shows them; may be nil
}

// refresh is for how long a listing of snapshots is believed.
const refresh = 10 * time.Second

// Run shows snapshots at a folder, which has to be there and empty, until ctx ends or it is unmounted by others, which is no error. When ctx ends
// while files are in use, it takes the folder away at once, and goes on until the last of them is closed.
func Run(ctx context.Context, dir string, source Source, o Options) error {
	if err := CheckPlace(dir); err != nil {
		return err
	}
	if err := checkMeans(); err != nil {
		return err
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	f := newFilesystem(serving, source, o)
	defer f.readers.close()
	defer stop()
	if err := f.tree.list(ctx); err != nil {
		if len(f.tree.snaps) == 0 {
			return err
		}
		f.trouble.tell("not every snapshot can be shown", err)
	}
	server, err := fuse.NewServer(f, dir, options(o))
	if err != nil {
		return explain(dir, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.Serve()
	}()
	if err := server.WaitMount(); err != nil {
		leave(dir, server, ended, o.Log)
		return fmt.Errorf("mount at %s: %w", dir, err)
	}
	if o.Ready != nil {
		o.Ready(dir)
	}
	select {
	case <-ended: // unmounted by others
		return nil
	case <-ctx.Done():
	}
	leave(dir, server, ended, o.Log)
	return nil
}

func options(o Options) *fuse.MountOptions {
	m := &fuse.MountOptions{
		FsName:        "backupd",
		Name:          "backupd",
		AllowOther:    o.AllowOther,
		DisableXAttrs: !o.Xattrs,
		MaxReadAhead:  1 << 20,
		Logger:        slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		PanicHandler: func(v any) fuse.Status {
			o.Log.Error("a defect: a request of the kernel could not be served", "err", v)
			return fuse.EIO
		},
	}
	// Who mounts for himself alone could as well "cat" any file; all others are kept to what modes and owners let them.
	if o.AllowOther || isRoot() {
		m.Options = append(m.Options, "default_permissions")
	}
	if isRoot() {
		m.DirectMountStrict = true
		m.DirectMountFlags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV
	} else {
		m.Options = append(m.Options, "ro", "nosuid", "nodev")
	}
	return m
}

func isRoot() bool { return os.Geteuid() == 0 }

// leave unmounts the folder, and returns when nobody can look any more. While files are in use it can only be detached.
func leave(dir string, server *fuse.Server, ended <-chan struct{}, log *slog.Logger) {
	defer func() { <-ended }()
	err := server.Unmount()
	select {
	case <-ended: // also when others were faster
		return
	default:
	}
	if err == nil {
		return
	}
	log.Warn("files below the folder are in use: it is taken away, and this ends when the last one is closed (fuser -m names who has them)",
		"dir", dir, "err", strings.TrimSpace(err.Error()))
	if err := detach(dir); err != nil {
		log.Error("the folder cannot be taken away either: unmount it yourself, or end this at once", "dir", dir, "err", err)
	}
}

func detach(dir string) error {
	if isRoot() {
		return unix.Unmount(dir, unix.MNT_DETACH)
	}
	program, err := fusermount()
	if err != nil {
		return err
	}
	out, err := exec.Command(program, "-u", "-z", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
