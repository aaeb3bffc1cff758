package mount

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/snapshot"
)

// filesystem answers the kernel. What it does not answer is refused, as is all that would change something.
type filesystem struct {
	fuse.RawFileSystem
	ctx     context.Context // of all that is served, as the kernel's requests have none
	tree    *tree
	readers *readers
	trouble *trouble
	owner   fuse.Owner
}

func newFilesystem(ctx context.Context, source Source, o Options) *filesystem {
	f := &filesystem{RawFileSystem: fuse.NewDefaultRawFileSystem(), ctx: ctx, trouble: &trouble{log: o.Log}, owner: *fuse.CurrentOwner()}
	f.tree = newTree(source, o.Hosts, o.Now, func(err error) { f.trouble.tell("the snapshots cannot be listed anew", err) })
	f.readers = &readers{ctx: ctx, open: source.Open, now: o.Now, known: map[snapshot.Ref]*opened{}, failed: func(ref snapshot.Ref, err error) {
		f.trouble.tell("a snapshot cannot be shown", err, "volume", ref.Volume, "snapshot", ref.ID)
	}}
	return f
}

// String is the file system's name.
func (f *filesystem) String() string { return "backupd" }

// patience is for how long a request goes on once its process got a signal, which need not be one to die of. What is read in the meantime,
// commonly all of it, spares programs an error that few of them expect.
const patience = 5 * time.Second

// request is the context of one request, which ends some time after the kernel has cancelled it.
func (f *filesystem) request(cancel <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(f.ctx)
	go func() {
		select {
		case <-ctx.Done():
			return
		case <-cancel:
		}
		select {
		case <-ctx.Done():
		case <-time.After(patience):
			stop()
		}
	}()
	return ctx, stop
}

// within does something with the entry of a node in a snapshot.
func (f *filesystem) within(ctx context.Context, id nodeID, do func(r *archive.Reader, e archive.Indexed) error) error {
	n := f.tree.at(id)
	if n == nil {
		return fs.ErrNotExist
	}
	r, release, err := f.readers.use(ctx, n.snap)
	if err != nil {
		return err
	}
	defer release()
	e, err := r.At(ctx, id.position())
	if err == nil {
		err = do(r, e)
	}
	if err != nil {
		return fmt.Errorf("snapshot %s of volume %q: %w", n.snap.ID, n.snap.Volume, err)
	}
	return nil
}

// Lookup finds a name in a folder.
func (f *filesystem) Lookup(cancel <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	ctx, stop := f.request(cancel)
	defer stop()
	id := nodeID(h.NodeId)
	if _, within := id.snapshot(); !within {
		return f.status(ctx, f.lookupAbove(ctx, id, name, out))
	}
	return f.status(ctx, f.within(ctx, id, func(r *archive.Reader, folder archive.Indexed) error {
		if folder.Kind != archive.Folder {
			return errNoFolder
		}
		e, err := r.Stat(ctx, path.Join(folder.Path, name))
		if err != nil {
			return err
		}
		return f.entry(id, &e, out)
	}))
}

func (f *filesystem) lookupAbove(ctx context.Context, id nodeID, name string, out *fuse.EntryOut) error {
	f.tree.refreshed(ctx)
	if f.tree.at(id) == nil {
		return fs.ErrNotExist
	}
	n := f.tree.kid(id, name)
	if n == nil {
		return fs.ErrNotExist
	}
	return f.stat(ctx, n, n.id, out)
}

// GetAttr tells what an inode is.
func (f *filesystem) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	ctx, stop := f.request(cancel)
	defer stop()
	id := nodeID(in.NodeId)
	if _, within := id.snapshot(); !within {
		f.tree.refreshed(ctx)
	}
	n := f.tree.at(id)
	if n == nil {
		return fuse.ENOENT
	}
	var e fuse.EntryOut
	err := f.stat(ctx, n, id, &e)
	out.Attr, out.AttrValid, out.AttrValidNsec = e.Attr, e.AttrValid, e.AttrValidNsec
	return f.status(ctx, err)
}

// stat fills in what is told of a number, which is that of a node or within that of a snapshot's folder.
func (f *filesystem) stat(ctx context.Context, n *node, id nodeID, out *fuse.EntryOut) error {
	switch {
	case !n.isSnapshot():
		f.nodeEntry(n, out)
		return nil
	case n.id == id:
		return f.snapshotEntry(ctx, n, out)
	}
	return f.within(ctx, id, func(_ *archive.Reader, e archive.Indexed) error { return f.entry(id, &e, out) })
}

// Readlink says what a symlink says.
func (f *filesystem) Readlink(cancel <-chan struct{}, h *fuse.InHeader) (target []byte, code fuse.Status) {
	ctx, stop := f.request(cancel)
	defer stop()
	id := nodeID(h.NodeId)
	n := f.tree.at(id)
	if n != nil && n.isLatest() {
		return []byte(n.link), fuse.OK
	}
	err := f.within(ctx, id, func(_ *archive.Reader, e archive.Indexed) error {
		if e.Kind != archive.Symlink {
			return fs.ErrInvalid
		}
		target = []byte(e.Linkname)
		return nil
	})
	return target, f.status(ctx, err)
}

// Open opens a file. What the kernel has kept of it is as good as ever.
func (f *filesystem) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if f.tree.at(nodeID(in.NodeId)) == nil {
		return fuse.ENOENT
	}
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return fuse.OK
}

// Read reads from a file.
func (f *filesystem) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	ctx, stop := f.request(cancel)
	defer stop()
	n := 0
	err := f.within(ctx, nodeID(in.NodeId), func(r *archive.Reader, e archive.Indexed) (err error) {
		n, err = r.ReadAt(ctx, e, buf[:min(len(buf), int(in.Size))], int64(in.Offset))
		if err == io.EOF {
			err = nil
		}
		return err
	})
	if err != nil {
		return nil, f.status(ctx, err)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Lseek finds the next data, or the next hole, in a file.
func (f *filesystem) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	ctx, stop := f.request(cancel)
	defer stop()
	return f.status(ctx, f.within(ctx, nodeID(in.NodeId), func(r *archive.Reader, e archive.Indexed) error {
		off := int64(in.Offset)
		if off < 0 || off >= e.Size {
			return errNoData
		}
		from, to, err := r.Data(ctx, e, off)
		switch {
		case err != nil:
			return err
		case in.Whence == unix.SEEK_DATA && from == e.Size:
			return errNoData
		case in.Whence == unix.SEEK_DATA:
			out.Offset = uint64(from)
		case from > off: // it is in a hole
			out.Offset = in.Offset
		default:
			out.Offset = uint64(to)
		}
		return nil
	}))
}

// StatFs says no more than how long names may be.
func (f *filesystem) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	out.Bsize, out.Frsize, out.NameLen = blockSize, blockSize, snapshot.MaxName
	return fuse.OK
}
