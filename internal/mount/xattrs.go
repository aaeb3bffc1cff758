package mount

import (
	"maps"
	"slices"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/archive"
)

// GetXAttr gives an extended attribute.
func (f *filesystem) GetXAttr(cancel <-chan struct{}, h *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	all, status := f.xattrs(cancel, nodeID(h.NodeId))
	if status != fuse.OK {
		return 0, status
	}
	value, there := all[name]
	if !there {
		return 0, fuse.ENOATTR
	}
	return fit(dest, value)
}

// ListXAttr names the extended attributes, each with a zero byte behind it.
func (f *filesystem) ListXAttr(cancel <-chan struct{}, h *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	all, status := f.xattrs(cancel, nodeID(h.NodeId))
	if status != fuse.OK {
		return 0, status
	}
	var names strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		names.WriteString(name + "\x00")
	}
	return fit(dest, names.String())
}

// fit puts a value into room that may be too small for it, or none because only its length is asked for.
func fit(dest []byte, value string) (uint32, fuse.Status) {
	if len(value) > len(dest) {
		return uint32(len(value)), fuse.Status(unix.ERANGE)
	}
	return uint32(copy(dest, value)), fuse.OK
}

func (f *filesystem) xattrs(cancel <-chan struct{}, id nodeID) (all map[string]string, _ fuse.Status) {
	if _, within := id.snapshot(); !within {
		return nil, fuse.OK
	}
	ctx, stop := f.request(cancel)
	defer stop()
	err := f.within(ctx, id, func(r *archive.Reader, e archive.Indexed) (err error) {
		all, err = r.Xattrs(ctx, e)
		return err
	})
	return all, f.status(ctx, err)
}
