package archive

import (
	"fmt"
	"time"
)

// Kind is what an entry is, as the tar's typeflag.
type Kind byte

// The kinds that an archive holds. Sockets are none of them: they mean nothing without the process that listens.
const (
	File        Kind = '0'
	Hardlink    Kind = '1' // another name of an earlier entry that is not a folder
	Symlink     Kind = '2'
	CharDevice  Kind = '3'
	BlockDevice Kind = '4'
	Folder      Kind = '5'
	Fifo        Kind = '6'
)

func (k Kind) String() string {
	switch k {
	case File:
		return "file"
	case Hardlink:
		return "hard link"
	case Symlink:
		return "symlink"
	case CharDevice:
		return "character device"
	case BlockDevice:
		return "block device"
	case Folder:
		return "folder"
	case Fifo:
		return "fifo"
	}
	return fmt.Sprintf("Kind(%q)", byte(k))
}

// Entry is one member of an archive. Names are the bytes that they were: not always UTF-8, and perhaps with newlines in them.
type Entry struct {
	Path     string // relative to the root, "." for the root itself
	Kind     Kind
	Mode     uint32 // permissions with the set-user-ID, set-group-ID and sticky bits, as chmod(2) takes them
	Size     int64  // bytes of a file, else 0
	UID, GID uint32
	ModTime  time.Time
	Linkname string // what a symlink says, or the Path that a hard link is another name of
}

// member is an Entry with what only its extraction needs.
type member struct {
	Entry
	major, minor uint32  // of a device
	xattrs       []xattr // sorted by name

	// What only the index needs.
	seen       seen
	from, data int64    // where in the tar the member begins, and where its data do
	stored     int64    // bytes of its data in the tar: the size, but for a sparse file
	sparse     bool     // its data begin with a map
	segments   segments // of a sparse file, while it is written
	resized    bool

	head string // its Path, while it is written, when an observer wants its first bytes
}

// seen is what the index keeps of a stat beside what an Entry has: by it the next run finds what has not changed.
type seen struct {
	changed, born stamp // born is zero where the file system does not know
	device        device
	inode         uint64
}

// stamp is a time as the kernel gives it. It compares, and takes no part in arithmetic.
type stamp struct {
	sec int64
	ns  uint32
}

// device is the number of a device.
type device struct{ major, minor uint32 }

// xattr is one extended attribute.
type xattr struct {
	name  string
	value string // any bytes
}
