package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// formatVersion is that of the sections. A reader refuses any other.
const formatVersion = 1

// The trailer is the last section, of a fixed size, so that it is found from the end:
//
//	 0  section header: magic, length, tag    9 bytes
//	 9  version                               1
//	10  zeros                                 6
//	16  where the index begins                8, little-endian, as those below
//	24  where the directory begins            8
//	32  length of the directory               8
//	40  SHA-256 of the directory              32
//	72  "backupd\n"                           8
const (
	trailerSize = 80
	endMagic    = "backupd\n"
)

// trailer says where the rest of the index is.
type trailer struct {
	index     int64 // where the first section begins, and the data frames end
	directory int64 // where the directory begins
	length    int64 // bytes of it, up to the trailer
	digest    [sha256.Size]byte
}

func (t *trailer) append(dst []byte) []byte {
	dst = appendSectionHeader(dst, trailerSection, trailerSize-sectionHeader)
	dst = append(dst, formatVersion, 0, 0, 0, 0, 0, 0)
	for _, n := range [3]int64{t.index, t.directory, t.length} {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(n))
	}
	dst = append(dst, t.digest[:]...)
	return append(dst, endMagic...)
}

// parseTrailer reads the trailer of an archive from its last bytes. size is that of the whole archive.
func parseTrailer(tail []byte, size int64) (t trailer, err error) {
	if len(tail) < trailerSize {
		return t, fmt.Errorf("read trailer: %w", io.ErrUnexpectedEOF)
	}
	b := tail[len(tail)-trailerSize:]
	if !bytes.HasSuffix(b, []byte(endMagic)) {
		return t, fmt.Errorf("read trailer: %w", errNoTrailer)
	}
	kind, length, err := parseSectionHeader(b)
	if err != nil {
		return t, fmt.Errorf("read trailer: %w", err)
	}
	if kind != trailerSection || length != trailerSize {
		return t, fmt.Errorf("read trailer: %w", errNoTrailer)
	}
	if b[9] != formatVersion {
		return t, fmt.Errorf("read trailer: version %d of the format is not known", b[9])
	}
	if [6]byte(b[10:16]) != [6]byte{} {
		return t, errors.New("read trailer: something where zeros belong")
	}
	for i, n := range [3]*int64{&t.index, &t.directory, &t.length} {
		*n = int64(binary.LittleEndian.Uint64(b[16+8*i:]))
	}
	copy(t.digest[:], b[40:])
	if t.index <= 0 || t.directory < t.index || t.length < sectionHeader || t.length > maxSection+skippableHeader ||
		t.directory > size-trailerSize || t.directory+t.length != size-trailerSize {
		return t, fmt.Errorf("read trailer: places that do not fit an archive of %d bytes", size)
	}
	return t, nil
}

// errNoTrailer says that an archive does not end as it should.
var errNoTrailer = errors.New("the archive does not end with one: it is cut off, or was made without an index")
