package archive

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// dirent is a name in a folder, with the type that the folder says it has: DT_UNKNOWN on some file systems.
type dirent struct {
	name string
	kind byte
}

// readNames reads a folder, sorted by name. A folder that is removed meanwhile is empty.
//
// The calls of os and unix for this either lose the type or look the name up by path; the type saves a system call per file.
func readNames(fd int, buf []byte) ([]dirent, error) {
	var all []dirent
	for {
		var n int
		err := retry(func() error {
			var err error
			n, err = unix.Getdents(fd, buf)
			return err
		})
		if err == unix.ENOENT {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		all = appendDirents(all, buf[:n])
	}
	slices.SortFunc(all, func(a, b dirent) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// appendDirents parses linux_dirent64 records (getdents64(2)): inode and offset of 8 bytes each, length of 2, type of 1, name up to
// a zero byte.
func appendDirents(all []dirent, buf []byte) []dirent {
	const lengthAt, typeAt, nameAt = 16, 18, 19
	for len(buf) > nameAt {
		length := int(binary.NativeEndian.Uint16(buf[lengthAt:]))
		if length <= nameAt || length > len(buf) {
			break
		}
		name, _, _ := bytes.Cut(buf[nameAt:length], []byte{0})
		if s := string(name); s != "." && s != ".." && s != "" {
			all = append(all, dirent{s, buf[typeAt]})
		}
		buf = buf[length:]
	}
	return all
}
