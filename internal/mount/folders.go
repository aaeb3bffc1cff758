package mount

import (
	"context"
	"path"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/backupd/backupd/internal/archive"
)

// The places in a listing: a program that goes on from one need not have the listing kept for it. Beyond these two, it is the place of the
// entry that was given last in the index of its snapshot, or among its siblings above snapshots.
const (
	afterSelf   = 1
	afterParent = 2
	firstPlace  = 3
)

// OpenDir opens a folder to list it. In a snapshot, what the kernel has kept of it is as good as ever.
func (f *filesystem) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	ctx, stop := f.request(cancel)
	defer stop()
	id := nodeID(in.NodeId)
	if _, within := id.snapshot(); !within {
		f.tree.refreshed(ctx)
		return fuse.OK
	}
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_CACHE_DIR
	return f.status(ctx, f.within(ctx, id, func(_ *archive.Reader, e archive.Indexed) error {
		if e.Kind != archive.Folder {
			return errNoFolder
		}
		return nil
	}))
}

// ReadDir lists names and kinds.
func (f *filesystem) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(cancel, in, func(d fuse.DirEntry, _ func(*fuse.EntryOut) error) (bool, error) {
		return out.AddDirEntry(d), nil
	})
}

// ReadDirPlus lists names with all that is told of them.
func (f *filesystem) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(cancel, in, func(d fuse.DirEntry, fill func(*fuse.EntryOut) error) (bool, error) {
		e := out.AddDirLookupEntry(d)
		if e == nil || fill == nil {
			return e != nil, nil
		}
		return true, fill(e)
	})
}

// adder adds a name to a listing, unless there is no room left for it. What is told of it is filled in by a function, if more than its name is.
type adder func(d fuse.DirEntry, fill func(*fuse.EntryOut) error) (room bool, err error)

func (f *filesystem) readDir(cancel <-chan struct{}, in *fuse.ReadIn, add adder) fuse.Status {
	ctx, stop := f.request(cancel)
	defer stop()
	id, from, some := nodeID(in.NodeId), in.Offset, false
	counted := func(d fuse.DirEntry, fill func(*fuse.EntryOut) error) (bool, error) {
		room, err := add(d, fill)
		some = some || room
		return room, err
	}
	err := f.list(ctx, id, from, counted)
	if err != nil && some && ctx.Err() == nil {
		return fuse.OK // it comes again with what is asked for next
	}
	return f.status(ctx, err)
}

// list adds what a folder has from a place on.
func (f *filesystem) list(ctx context.Context, id nodeID, from uint64, add adder) error {
	for ; from < afterParent; from++ {
		d := fuse.DirEntry{Name: []string{".", ".."}[from], Mode: fuse.S_IFDIR, Off: from + 1}
		if room, err := add(d, nil); !room || err != nil {
			return err
		}
	}
	if _, within := id.snapshot(); !within {
		return f.listAbove(id, int(from-afterParent), add)
	}
	return f.within(ctx, id, func(r *archive.Reader, folder archive.Indexed) error {
		after := folder.Position()
		if from >= firstPlace {
			after = nodeID(from - firstPlace).position()
		}
		return f.listWithin(ctx, id, r, folder, after, add)
	})
}

// listAbove lists a folder above snapshots. Of a snapshot's folder it tells the name alone: more would mean to open it.
func (f *filesystem) listAbove(id nodeID, place int, add adder) error {
	for {
		n, next := f.tree.after(id, place)
		if n == nil {
			return nil
		}
		place = next
		fill := func(e *fuse.EntryOut) error { f.nodeEntry(n, e); return nil }
		if n.isSnapshot() {
			fill = nil
		}
		room, err := add(fuse.DirEntry{Name: n.name, Mode: n.mode(), Ino: uint64(n.id), Off: uint64(place + afterParent)}, fill)
		if !room || err != nil {
			return err
		}
	}
}

func (f *filesystem) listWithin(ctx context.Context, id nodeID, r *archive.Reader, folder archive.Indexed, after archive.Position, add adder) error {
	for e, err := range r.Children(ctx, folder, after) {
		if err != nil {
			return err
		}
		at, err := id.entry(e.Position())
		if err != nil {
			return err
		}
		name := path.Base(e.Path)
		if e.Kind == archive.Hardlink {
			if e, err = r.Stat(ctx, e.Path); err != nil {
				return err
			}
		}
		is, err := id.entry(e.Position())
		if err != nil {
			return err
		}
		d := fuse.DirEntry{Name: name, Mode: types[e.Kind], Ino: uint64(is), Off: firstPlace + at.place()}
		if room, err := add(d, func(out *fuse.EntryOut) error { return f.entry(id, &e, out) }); !room || err != nil {
			return err
		}
	}
	return nil
}
