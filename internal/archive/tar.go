package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"
)

// tarReader reads the tars that this package writes, and refuses all else: dialects are where readers differ, and so where an archive can
// be one thing to one of them and another thing to the next.
type tarReader struct {
	plain plainReader
	left  int64 // bytes of the current member's data
	pad   int64 // bytes after them
	block [tarBlock]byte
}

// next gives the next member, skipping what is left of the current one. It gives io.EOF once the end is proven: two zero blocks, and
// nothing after them.
func (t *tarReader) next() (*member, error) {
	if err := t.plain.skip(t.left + t.pad); err != nil {
		return nil, fmt.Errorf("read to the next member: %w", err)
	}
	t.left, t.pad = 0, 0
	if err := t.plain.full(t.block[:]); err != nil {
		return nil, fmt.Errorf("read member header: %w", err)
	}
	if t.block == [tarBlock]byte{} {
		return nil, damaged(t.end())
	}
	m, err := t.member()
	return m, damaged(err)
}

// member gives the member of which the first block is at hand.
func (t *tarReader) member() (*member, error) {
	var rec records
	if Kind(t.block[fieldType.from()]) == paxType {
		if err := t.records(&rec); err != nil {
			return nil, err
		}
	}
	m, err := parseMember(t.block[:], &rec)
	if err != nil {
		return nil, err
	}
	t.left, t.pad = m.stored, padding(m.stored)
	return m, nil
}

// data gives the next piece of the current member's data, at most n bytes of it, valid until the next call, and io.EOF at its end.
func (t *tarReader) data(n int64) ([]byte, error) {
	if t.left == 0 {
		return nil, io.EOF
	}
	p, err := t.plain.some(min(n, t.left))
	if err != nil {
		return nil, damaged(unexpected(err))
	}
	t.left -= int64(len(p))
	return p, nil
}

// sparse reads the map of the current member, which is a sparse file of which no data has been taken. What data gives afterwards are the
// bytes of its segments.
func (t *tarReader) sparse(m *member) (segments, error) {
	all, err := readMap(m.Size, m.stored, func(dst []byte) error {
		t.left -= int64(len(dst))
		return t.plain.full(dst)
	})
	return all, damaged(err)
}

func (t *tarReader) end() error {
	if err := t.plain.full(t.block[:]); err != nil {
		return fmt.Errorf("read end of archive: %w", err)
	}
	if t.block != [tarBlock]byte{} {
		return errors.New("read end of archive: a zero block alone")
	}
	switch _, err := t.plain.some(1); {
	case err == io.EOF:
		return io.EOF
	case err != nil:
		return fmt.Errorf("read end of archive: %w", err)
	}
	return errors.New("read end of archive: data after it")
}

// checkHeader tells whether a block is an ustar header.
func checkHeader(b []byte) error {
	sum, err := numeric(b, fieldChecksum)
	if err != nil || sum != checksum(b) {
		return errors.New("header with a wrong checksum")
	}
	if string(fieldMagic.of(b)) != ustarMagic {
		return errors.New("header that is not pax")
	}
	return nil
}

// parseMember reads a header and what its extended records say otherwise.
func parseMember(b []byte, rec *records) (*member, error) {
	if err := checkHeader(b); err != nil {
		return nil, fmt.Errorf("read member: %w", err)
	}
	name := text(b, fieldName)
	if prefix := text(b, fieldPrefix); prefix != "" {
		name = prefix + "/" + name
	}
	name = or(rec.path, name)
	m := &member{Entry: Entry{Kind: Kind(fieldType.of(b)[0])}, xattrs: rec.xattrs}
	if m.Kind == 0 {
		m.Kind = File // as before POSIX
	}
	if err := m.numbers(b, rec); err != nil {
		return nil, fmt.Errorf("read member %q: %w", name, err)
	}
	if m.sparse {
		name = *rec.sparse.name
	}
	if err := m.names(name, or(rec.linkpath, text(b, fieldLink))); err != nil {
		return nil, fmt.Errorf("read member %q: %w", name, err)
	}
	return m, nil
}

func (m *member) numbers(b []byte, rec *records) error {
	var n [7]int64
	for i, f := range [7]field{fieldMode, fieldUID, fieldGID, fieldSize, fieldMTime, fieldMajor, fieldMinor} {
		var err error
		if n[i], err = numeric(b, f); err != nil {
			return err
		}
	}
	var err error
	if m.sparse, err = rec.sparse.given(); err != nil {
		return err
	}
	if m.sparse && m.Kind != File {
		return fmt.Errorf("a sparse %v", m.Kind)
	}
	m.Mode = uint32(n[0]) & 0o7777
	m.UID, m.GID = uint32(or(rec.uid, n[1])), uint32(or(rec.gid, n[2]))
	m.ModTime = or(rec.mtime, time.Unix(n[4], 0).UTC())
	switch size := or(rec.size, n[3]); m.Kind {
	case File:
		m.Size, m.stored = size, size
		if m.sparse {
			m.Size = *rec.sparse.realsize
		}
	case CharDevice, BlockDevice:
		m.major, m.minor = uint32(n[5]), uint32(n[6])
		fallthrough
	case Hardlink, Symlink, Folder, Fifo:
		if size != 0 {
			return fmt.Errorf("a %v with data", m.Kind)
		}
	default:
		return fmt.Errorf("unknown type %q", byte(m.Kind))
	}
	return nil
}

func (m *member) names(name, link string) (err error) {
	if m.Kind == Folder {
		name = strings.TrimSuffix(name, "/")
	}
	if m.Path, err = localPath(name); err != nil {
		return err
	}
	if m.Path == "." && m.Kind != Folder {
		return fmt.Errorf("the root, but a %v", m.Kind)
	}
	switch m.Kind {
	case Symlink:
		if link == "" || strings.ContainsRune(link, 0) {
			return fmt.Errorf("a symlink to %q", link)
		}
		m.Linkname = link
	case Hardlink:
		if m.Linkname, err = localPath(link); err != nil {
			return fmt.Errorf("hard link to %q: %w", link, err)
		}
	}
	return nil
}

// localPath is a name without the "./" before it. Names that lead out of the root, or that are written otherwise than they need to be,
// are refused.
func localPath(name string) (string, error) {
	if name == "." {
		return name, nil
	}
	name = strings.TrimPrefix(name, "./")
	switch {
	case strings.HasPrefix(name, "/"):
		return "", errors.New("absolute name")
	case name == "" || name != path.Clean(name) || strings.ContainsRune(name, 0):
		return "", errors.New("malformed name")
	case name == "." || name == ".." || strings.HasPrefix(name, "../"):
		return "", errors.New("name that leads out of the archive")
	}
	return name, nil
}

// text is a field up to its first zero byte.
func text(b []byte, f field) string {
	t, _, _ := bytes.Cut(f.of(b), []byte{0})
	return string(t)
}

// numeric is a field of octal digits, among spaces and zero bytes.
func numeric(b []byte, f field) (int64, error) {
	digits := string(bytes.Trim(f.of(b), " \x00"))
	if digits == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(digits, 8, 62)
	if err != nil {
		return 0, fmt.Errorf("%q is no octal number", digits)
	}
	return int64(n), nil
}

// or is what a record says, or else what the header does.
func or[T any](record *T, header T) T {
	if record != nil {
		return *record
	}
	return header
}
