package archive

import (
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	tarBlock = 512
	// maxRecords bounds the extended records of one member: three paths of some 5,000 components, or thirty times the attributes that
	// the kernel allows for.
	maxRecords = 4 << 20
	paxType    = 'x'
	// paxName is what a reader that knows no pax would call the extended records.
	paxName = "./PaxHeaders/member"

	xattrRecord = "SCHILY.xattr."
)

// field is where a field of a ustar header lies (POSIX, pax, "ustar Interchange Format"): its offset and its length, in bytes.
type field uint32

const (
	fieldName     field = 0<<16 | 100
	fieldMode     field = 100<<16 | 8
	fieldUID      field = 108<<16 | 8
	fieldGID      field = 116<<16 | 8
	fieldSize     field = 124<<16 | 12
	fieldMTime    field = 136<<16 | 12
	fieldChecksum field = 148<<16 | 8
	fieldType     field = 156<<16 | 1
	fieldLink     field = 157<<16 | 100
	fieldMagic    field = 257<<16 | 8
	fieldMajor    field = 329<<16 | 8
	fieldMinor    field = 337<<16 | 8
	fieldPrefix   field = 345<<16 | 155
)

func (f field) from() int          { return int(f >> 16) }
func (f field) size() int          { return int(f & 0xffff) }
func (f field) of(h []byte) []byte { return h[f.from() : f.from()+f.size()] }

// holds tells whether a numeric field can hold n, in octal digits and a zero byte.
func (f field) holds(n int64) bool { return n >= 0 && n < 1<<(3*(f.size()-1)) }

const ustarMagic = "ustar\x0000"

// headers makes tar headers in buffers of its own.
type headers struct {
	records []byte
	out     []byte
}

// of gives the blocks that go before the data of m. They are valid until the next call.
func (h *headers) of(m *member) ([]byte, error) {
	h.records, h.out = h.records[:0], h.out[:0]
	name, link, stored := tarName(m), m.Linkname, m.Size
	if m.sparse {
		stored = m.stored
	}
	if m.Kind == Hardlink {
		link = "./" + link
	}
	longName, longLink := inRecord(name, fieldName), inRecord(link, fieldLink)
	if (longName || m.sparse) && !utf8.ValidString(name) || longLink && !utf8.ValidString(link) {
		h.record("hdrcharset", "BINARY") // else bsdtar refuses what is not UTF-8
	}
	if longName && !m.sparse {
		h.record("path", name)
	}
	if longLink {
		h.record("linkpath", link)
	}
	if m.sparse {
		h.record("GNU.sparse.major", "1")
		h.record("GNU.sparse.minor", "0")
		h.record("GNU.sparse.name", name)
		h.record("GNU.sparse.realsize", strconv.FormatInt(m.Size, 10))
	}
	h.number("size", stored, fieldSize)
	h.number("uid", int64(m.UID), fieldUID)
	h.number("gid", int64(m.GID), fieldGID)
	if s := m.ModTime.Unix(); m.ModTime.Nanosecond() != 0 || !fieldMTime.holds(s) {
		h.record("mtime", string(appendTime(nil, s, m.ModTime.Nanosecond())))
	}
	if err := h.xattrs(m.xattrs); err != nil {
		return nil, err
	}
	if len(h.records) > maxRecords {
		return nil, fmt.Errorf("name and attributes take %d bytes, at most %d can be kept", len(h.records), maxRecords)
	}
	if len(h.records) > 0 {
		h.block(member{Entry: Entry{Kind: paxType, Mode: 0o644, Size: int64(len(h.records))}}, paxName, "")
		h.out = append(h.out, h.records...)
		h.out = append(h.out, make([]byte, padding(int64(len(h.records))))...)
	}
	header := *m
	header.Size = stored
	if m.sparse {
		name = sparseName(name)
	}
	h.block(header, name, link)
	return h.out, nil
}

// tarName is how the tar calls a member.
func tarName(m *member) string {
	switch {
	case m.Path == ".":
		return "./"
	case m.Kind == Folder:
		return "./" + m.Path + "/"
	}
	return "./" + m.Path
}

// sparseName is what a reader that does not know sparse files would call one, as GNU tar has it: in a folder of its own beside the
// file, or without its path where that is too long for the header.
func sparseName(name string) string {
	dir, base := path.Split(name)
	const folder = "GNUSparseFile.0/"
	if len(dir)+len(folder)+len(base) > fieldName.size() {
		dir = "./"
	}
	name = dir + folder + base
	return name[:min(len(name), fieldName.size())]
}

// inRecord tells whether text needs a record, because the ustar field cannot hold it. Text that is not UTF-8 stays out of records where
// it can, since they are UTF-8 by definition; stock tools take raw bytes from the field.
func inRecord(text string, f field) bool {
	return len(text) > f.size() || !ascii(text) && utf8.ValidString(text)
}

func (h *headers) number(key string, n int64, f field) {
	if !f.holds(n) {
		h.record(key, strconv.FormatInt(n, 10))
	}
}

func (h *headers) xattrs(all []xattr) error {
	for _, x := range all {
		h.record(xattrRecord+escapeXattr(x.name), x.value)
	}
	for _, x := range all {
		key := aclRecord(x.name)
		if key == "" {
			continue
		}
		words, err := aclText([]byte(x.value))
		if err != nil {
			return fmt.Errorf("attribute %s: %w", x.name, err)
		}
		h.record(key, words)
	}
	return nil
}

// record appends "LENGTH KEY=VALUE\n", the length being that of the whole, its own digits included.
func (h *headers) record(key, value string) {
	n := len(key) + len(value) + len(" =\n")
	size := n + digits(n)
	size = n + digits(size)
	h.records = strconv.AppendInt(h.records, int64(size), 10)
	h.records = append(h.records, ' ')
	h.records = append(h.records, key...)
	h.records = append(h.records, '=')
	h.records = append(h.records, value...)
	h.records = append(h.records, '\n')
}

// block appends one ustar header. A number that does not fit is zero here, and has a record.
func (h *headers) block(m member, name, link string) {
	at := len(h.out)
	h.out = append(h.out, make([]byte, tarBlock)...)
	b := h.out[at:]
	copy(fieldName.of(b), name)
	copy(fieldLink.of(b), link)
	octal(fieldMode.of(b), int64(m.Mode))
	octal(fieldUID.of(b), int64(m.UID))
	octal(fieldGID.of(b), int64(m.GID))
	octal(fieldSize.of(b), m.Size)
	octal(fieldMTime.of(b), m.ModTime.Unix())
	fieldType.of(b)[0] = byte(m.Kind)
	copy(fieldMagic.of(b), ustarMagic)
	octal(fieldMajor.of(b), int64(m.major))
	octal(fieldMinor.of(b), int64(m.minor))
	octal(fieldChecksum.of(b)[:7], checksum(b))
	fieldChecksum.of(b)[7] = ' '
}

// checksum is the sum of a header's bytes, with its own field taken for spaces.
func checksum(b []byte) int64 {
	var sum int64
	for _, c := range b[:tarBlock] {
		sum += int64(c)
	}
	for _, c := range fieldChecksum.of(b) {
		sum += ' ' - int64(c)
	}
	return sum
}

// octal fills a field with digits and a zero byte.
func octal(dst []byte, n int64) {
	last := len(dst) - 1
	if n < 0 || n >= 1<<(3*last) {
		n = 0
	}
	dst[last] = 0
	for i := last - 1; i >= 0; i-- {
		dst[i] = '0' + byte(n&7)
		n >>= 3
	}
}

// padding is how many zeros follow so many bytes of data.
func padding(n int64) int64 { return -n & (tarBlock - 1) }

func digits(n int) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendTime writes seconds since 1970 with a fraction. Of a time before then the fraction counts down, too: -1.5 is half a second before -1.
func appendTime(dst []byte, s int64, ns int) []byte {
	if s < 0 && ns > 0 {
		s, ns = s+1, 1e9-ns
		if s == 0 {
			dst = append(dst, '-')
		}
	}
	dst = strconv.AppendInt(dst, s, 10)
	if ns == 0 {
		return dst
	}
	fraction := strconv.Itoa(ns)
	dst = append(dst, '.')
	dst = append(dst, "000000000"[len(fraction):]...)
	return append(dst, strings.TrimRight(fraction, "0")...)
}

// parseTime reads what appendTime writes, and cuts a finer fraction off.
func parseTime(text string) (s, ns int64, err error) {
	whole, fraction, _ := strings.Cut(text, ".")
	if s, err = strconv.ParseInt(whole, 10, 64); err != nil || s == math.MinInt64 {
		return 0, 0, fmt.Errorf("time %q", text)
	}
	fraction = (fraction + "000000000")[:9]
	n, err := strconv.ParseUint(fraction, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("time %q", text)
	}
	ns = int64(n)
	if strings.HasPrefix(whole, "-") && ns > 0 {
		s, ns = s-1, 1e9-ns
	}
	return s, ns, nil
}

// escapeXattr spells an attribute's name so that it can stand before "=", as GNU tar does.
func escapeXattr(name string) string {
	if !strings.ContainsAny(name, "%=") {
		return name
	}
	return strings.NewReplacer("%", "%25", "=", "%3D").Replace(name)
}

func unescapeXattr(name string) string {
	if !strings.Contains(name, "%") {
		return name
	}
	return strings.NewReplacer("%25", "%", "%3D", "=").Replace(name)
}
