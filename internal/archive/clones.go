package archive

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// clones keeps clones of files (ioctl_ficlonerange(2)), one after the other in a file without a name: it takes one descriptor for any number
// of them, and it is gone with this process, whatever ends it.
type clones struct {
	dir   string
	made  int64
	files [2]cloneFile // with checksums, and without: btrfs shares no data between these
}

type cloneFile struct {
	fd  int // 0 until it is opened, -1 when it cannot be
	end int64
}

// cloneAlign is a multiple of every file system's block size.
const cloneAlign = 64 << 10

// clone clones an open file. Where that cannot be done for whatever reason, the file has to be read.
func (c *clones) clone(fd int) (source, bool) {
	for i := range c.files {
		f := &c.files[i]
		if f.fd == 0 {
			f.fd = openClones(c.dir, i == 1)
		}
		if f.fd < 0 {
			continue
		}
		from, err := f.clone(fd)
		if err == nil {
			c.made++
			return from, true
		}
		if err != unix.EINVAL {
			break
		}
	}
	return source{}, false
}

// openClones opens a new file, or gives -1.
func openClones(dir string, noChecksums bool) int {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return -1
	}
	const noCOW = 0x00800000 // FS_NOCOW_FL of linux/fs.h
	if noChecksums && unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, noCOW) != nil {
		closeFD(fd)
		return -1
	}
	return fd
}

func (f *cloneFile) clone(fd int) (source, error) {
	err := retry(func() error {
		return unix.IoctlFileCloneRange(f.fd, &unix.FileCloneRange{Src_fd: int64(fd), Dest_offset: uint64(f.end)})
	})
	if err != nil {
		return source{}, err
	}
	st, err := stat(f.fd, "")
	if err != nil {
		return source{}, err
	}
	from := source{fd: f.fd, cloned: true, base: f.end, length: max(0, int64(st.Size)-f.end)}
	f.end = (f.end + from.length + cloneAlign - 1) &^ (cloneAlign - 1)
	return from, nil
}

// unshare gives up a part of a clone that has been read, as far as it consists of whole blocks. What programs write to data that is shared
// goes elsewhere, which fragments their files and makes the next clone slow: so it is shared no longer than it must be.
func unshare(fd int, from, size int64) {
	const block = cloneAlign
	first, end := (from+block-1)&^(block-1), (from+size)&^(block-1)
	if first < end {
		// Where that fails the rest is shared until the file is closed.
		_ = unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, first, end-first)
	}
}

func (c *clones) close() {
	for i := range c.files {
		if c.files[i].fd > 0 {
			closeFD(c.files[i].fd)
		}
		c.files[i].fd = -1
	}
}

// CanClone tells whether files of dir can be cloned into another folder, by cloning a small file there. The error says why they cannot.
func CanClone(dir, into string) error {
	from, err := stat(unix.AT_FDCWD, dir)
	if err != nil {
		return fmt.Errorf("stat %s: %w", dir, err)
	}
	to, err := stat(unix.AT_FDCWD, into)
	if err != nil {
		return fmt.Errorf("stat %s: %w", into, err)
	}
	if from.Mnt_id != to.Mnt_id {
		return fmt.Errorf("clone files of %s: %s is on another file system", dir, into)
	}
	if err := tryClone(into); err != nil {
		return fmt.Errorf("clone a file in %s: %w", into, err)
	}
	return nil
}

func tryClone(dir string) error {
	tiny, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer closeFD(tiny)
	if err := writeFullAt(tiny, make([]byte, 4<<10), 0); err != nil {
		return err
	}
	c := clones{dir: dir}
	defer c.close()
	if _, ok := c.clone(tiny); !ok {
		return errors.New("the file system cannot do that")
	}
	return nil
}
