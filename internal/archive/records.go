package archive

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// records are what extended headers say of the next member.
type records struct {
	path, linkpath *string
	size, uid, gid *int64
	mtime          *time.Time
	xattrs         []xattr
	sparse         sparseRecords
}

// records reads extended records, and after them the header that they are about into t.block.
func (t *tarReader) records(rec *records) error {
	size, err := numeric(t.block[:], fieldSize)
	if err == nil {
		err = checkHeader(t.block[:])
	}
	if err != nil {
		return fmt.Errorf("read extended records: %w", err)
	}
	if size > maxRecords {
		return fmt.Errorf("read extended records: %d bytes of them, at most %d are allowed", size, maxRecords)
	}
	text := make([]byte, size)
	if err := t.plain.full(text); err != nil {
		return fmt.Errorf("read extended records: %w", err)
	}
	if err := t.plain.skip(padding(size)); err != nil {
		return fmt.Errorf("read extended records: %w", err)
	}
	if err := rec.parse(string(text)); err != nil {
		return fmt.Errorf("read extended records: %w", err)
	}
	if err := t.plain.full(t.block[:]); err != nil {
		return fmt.Errorf("read member header: %w", err)
	}
	return nil
}

func (rec *records) parse(text string) error {
	for text != "" {
		number, rest, ok := strings.Cut(text, " ")
		n, err := strconv.ParseUint(number, 10, 31)
		least, most := len(number)+len(" =\n"), len(text)
		if !ok || err != nil || int(n) < least || int(n) > most || text[n-1] != '\n' {
			return fmt.Errorf("%.40q begins no record", text)
		}
		key, value, ok := strings.Cut(rest[:int(n)-len(number)-2], "=")
		if !ok {
			return fmt.Errorf("%.40q is no record", text[:n])
		}
		if err := rec.set(key, value); err != nil {
			return fmt.Errorf("record %q: %w", key, err)
		}
		text = text[n:]
	}
	return nil
}

// set takes one record. Of those that it does not know some may change what a member is, so they are refused, apart from those that
// repeat what stands elsewhere or only comment.
func (rec *records) set(key, value string) (err error) {
	switch key {
	case "path":
		rec.path = &value
	case "linkpath":
		rec.linkpath = &value
	case "size":
		rec.size, err = decimal(value, maxSize)
	case "uid":
		rec.uid, err = decimal(value, maxID)
	case "gid":
		rec.gid, err = decimal(value, maxID)
	case "mtime":
		var s, ns int64
		s, ns, err = parseTime(value)
		t := time.Unix(s, ns).UTC()
		rec.mtime = &t
	case "GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.name", "GNU.sparse.realsize":
		err = rec.sparse.set(key, value)
	case "hdrcharset", "atime", "ctime", "uname", "gname", "comment", "SCHILY.acl.access", "SCHILY.acl.default":
	default:
		name, ok := strings.CutPrefix(key, xattrRecord)
		if !ok {
			return errors.New("unknown")
		}
		if name == "" || strings.ContainsRune(name, 0) {
			return errors.New("attribute without a proper name")
		}
		rec.xattrs = append(rec.xattrs, xattr{unescapeXattr(name), value})
	}
	return err
}

const (
	maxSize = 1<<62 - tarBlock // leaves room to add padding
	maxID   = 1<<32 - 1
)

func decimal(text string, most uint64) (*int64, error) {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || n > most {
		return nil, fmt.Errorf("%.40q is not a number up to %d", text, most)
	}
	v := int64(n)
	return &v, nil
}

// sparseRecords say that a member is a sparse file.
type sparseRecords struct {
	major, minor, name *string
	realsize           *int64
}

func (s *sparseRecords) set(key, value string) (err error) {
	switch key {
	case "GNU.sparse.major":
		s.major = &value
	case "GNU.sparse.minor":
		s.minor = &value
	case "GNU.sparse.name":
		s.name = &value
	default:
		s.realsize, err = decimal(value, maxSize)
	}
	return err
}

// given tells whether the member is a sparse file of the form that this package writes. Any other form is an error.
func (s *sparseRecords) given() (bool, error) {
	if *s == (sparseRecords{}) {
		return false, nil
	}
	if s.major == nil || *s.major != "1" || s.minor == nil || *s.minor != "0" || s.name == nil || s.realsize == nil {
		return false, errors.New("a sparse file, but not in GNU's form 1.0")
	}
	return true, nil
}
