package mount

import (
	"context"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/archive"
)

// For how long the kernel believes what it was told: what does not change, and what may be gone or other at any time.
const (
	forLong = time.Hour
	forNow  = time.Second
)

const blockSize = 4096

var types = map[archive.Kind]uint32{
	archive.File: unix.S_IFREG, archive.Symlink: unix.S_IFLNK, archive.CharDevice: unix.S_IFCHR,
	archive.BlockDevice: unix.S_IFBLK, archive.Folder: unix.S_IFDIR, archive.Fifo: unix.S_IFIFO,
}

// entry fills in what is told of an entry of a snapshot. A hard link is what it links to: it was looked up so.
func (f *filesystem) entry(in nodeID, e *archive.Indexed, out *fuse.EntryOut) error {
	id, err := in.entry(e.Position())
	if err != nil {
		return err
	}
	out.NodeId = uint64(id)
	out.SetEntryTimeout(forLong)
	out.SetAttrTimeout(forLong)
	out.Attr = fuse.Attr{
		Ino: uint64(id), Size: uint64(e.Size), Blocks: uint64(e.Stored()+511) / 512, Blksize: blockSize,
		Mode: types[e.Kind] | e.Mode, Nlink: 1, Owner: fuse.Owner{Uid: e.UID, Gid: e.GID},
		Rdev: uint32(unix.Mkdev(uint32(e.Rdev>>32), uint32(e.Rdev))),
	}
	if e.Kind == archive.Symlink {
		out.Size = uint64(len(e.Linkname))
	}
	out.SetTimes(&e.ModTime, &e.ModTime, &e.ChangeTime)
	return nil
}

// nodeEntry fills in what is told of a folder above snapshots, or of the symlink to the latest.
func (f *filesystem) nodeEntry(n *node, out *fuse.EntryOut) {
	out.NodeId = uint64(n.id)
	out.SetEntryTimeout(forNow)
	out.SetAttrTimeout(forNow)
	out.Attr = fuse.Attr{Ino: uint64(n.id), Mode: n.mode(), Nlink: 1, Owner: f.owner, Size: uint64(len(n.link)), Blksize: blockSize}
	out.SetTimes(&n.newest, &n.newest, &n.newest)
}

// snapshotEntry fills in what is told of the folder of a snapshot, which is that of the volume's own. Of a snapshot that cannot be opened it is a
// folder that lets nobody in, so that what is beside it can be listed.
func (f *filesystem) snapshotEntry(ctx context.Context, n *node, out *fuse.EntryOut) error {
	err := f.within(ctx, n.id, func(_ *archive.Reader, e archive.Indexed) error { return f.entry(n.id, &e, out) })
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		f.nodeEntry(n, out)
		out.Mode = unix.S_IFDIR
		return nil
	}
	out.SetEntryTimeout(forNow)
	return nil
}
