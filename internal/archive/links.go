package archive

import (
	"golang.org/x/sys/unix"
)

// inode tells files apart. The birth time is in it because a number is used again once its file is gone.
type inode struct {
	major, minor uint32 // one mount of btrfs has a device for each subvolume
	number       uint64
	birth        stamp
}

func inodeOf(st *unix.Statx_t) inode {
	return inode{st.Dev_major, st.Dev_minor, st.Ino, stamp{st.Btime.Sec, st.Btime.Nsec}}
}

// pending is a file with names that have not been seen yet.
type pending struct {
	path string // its first name
	left uint32
}

// linkTable knows the files with several names of which some are still to come. It holds so much of it in memory, and the rest on disk:
// a file there costs two or three system calls for each of its names.
type linkTable struct {
	most  int // bytes to hold in memory
	inMem map[inode]pending
	held  int
	disk  linkFile
}

const (
	linksMemory = 8 << 20
	linkCost    = 200 // bytes of a file in the map, without its path
)

func newLinkTable(scratch string, most int) *linkTable {
	return &linkTable{most: most, inMem: make(map[inode]pending), disk: linkFile{scratch: scratch, buckets: firstBuckets}}
}

// seen says that a file with so many names has been met under a path. It gives the path under which the file was met first, and "" when
// this is that.
func (t *linkTable) seen(key inode, path string, names uint32) (first string, err error) {
	if p, ok := t.inMem[key]; ok {
		if p.left--; p.left > 0 {
			t.inMem[key] = p
		} else { // all names have been seen
			delete(t.inMem, key)
			t.held -= linkCost + len(p.path)
		}
		return p.path, nil
	}
	if first, err = t.disk.seen(key); first != "" || err != nil {
		return first, err
	}
	if t.held+linkCost+len(path) > t.most {
		return "", t.disk.add(key, path, names-1)
	}
	t.inMem[key] = pending{path, names - 1}
	t.held += linkCost + len(path)
	return "", nil
}

func (t *linkTable) close() { t.disk.close() }
