package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Ref says which snapshot: of which host and volume, and which one.
type Ref struct {
	Host   string
	Volume string
	ID     ID
}

// Kind is what an object of a snapshot is, and the end of its key.
type Kind string

// The objects that a snapshot may have on a target.
const (
	ArchiveKind  Kind = ".tar.zst"     // the data
	SealedKind   Kind = ".tar.zst.age" // the data, encrypted
	ManifestKind Kind = ".json"        // the commit: a snapshot exists exactly when this does
	PinKind      Kind = ".pin"         // kept, whatever the retention policy says
	// and Trial.Kind for each time that it was tried out
)

// ArchiveKinds gives those that are archives, of which a snapshot has one at most.
func ArchiveKinds() []Kind { return []Kind{ArchiveKind, SealedKind} }

// IsArchive tells whether it is data.
func (k Kind) IsArchive() bool { return slices.Contains(ArchiveKinds(), k) }

// Key is where an object of the snapshot lies on a target: <host>/<volume>/<id><kind>.
func (r Ref) Key(kind Kind) string {
	return VolumePrefix(r.Host, r.Volume) + string(r.ID) + string(kind)
}

// HostPrefix begins the keys of everything that is kept for a host.
func HostPrefix(host string) string { return Escape(host) + "/" }

// VolumePrefix begins the keys of everything that is kept for a volume. Its final slash keeps "app" apart from "app2".
func VolumePrefix(host, volume string) string { return HostPrefix(host) + Escape(volume) + "/" }

// FileName begins the names of files that are kept on a host for a volume. It is a digest, since names can be as long as a file's may be; whose a
// file is has to stand in it.
func FileName(host, volume string) string {
	sum := sha256.Sum256([]byte(VolumePrefix(host, volume)))
	return hex.EncodeToString(sum[:16])
}

// ErrForeign marks a key that no part of backupd writes.
var ErrForeign = errors.New("not an object of a snapshot")

// ParseKey is the inverse of Ref.Key. Anything that Key cannot have made is ErrForeign.
func ParseKey(key string) (Ref, Kind, error) {
	foreign := func() (Ref, Kind, error) { return Ref{}, "", fmt.Errorf("%q: %w", key, ErrForeign) }
	segments := strings.Split(key, "/")
	if len(segments) != 3 {
		return foreign()
	}
	host, err := Unescape(segments[0])
	if err != nil {
		return foreign()
	}
	volume, err := Unescape(segments[1])
	if err != nil {
		return foreign()
	}
	base, kind, ok := cutKind(segments[2])
	if !ok {
		return foreign()
	}
	id, err := ParseID(base)
	if err != nil {
		return foreign()
	}
	return Ref{Host: host, Volume: volume, ID: id}, kind, nil
}

func cutKind(name string) (base string, kind Kind, ok bool) {
	for _, k := range append(ArchiveKinds(), ManifestKind, PinKind) {
		if base, ok := strings.CutSuffix(name, string(k)); ok {
			return base, k, true
		}
	}
	base, rest, _ := strings.Cut(name, ".")
	kind = Kind("." + rest)
	_, ok = kind.Trial()
	return base, kind, ok
}

// MaxName is the longest escaped name in bytes: what one path segment can hold on every file system in use.
const MaxName = 255

// Escape turns any name into one path segment: letters, digits and "-_." stand for themselves, every other byte,
// and a dot at the beginning, becomes %XX.
func Escape(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; plain(c) && (i > 0 || c != '.') {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.'
}

// Unescape is the inverse of Escape, and refuses what Escape does not make, so that no two segments mean one name.
func Unescape(segment string) (string, error) {
	name, err := url.PathUnescape(segment)
	if err != nil || name == "" || Escape(name) != segment {
		return "", fmt.Errorf("%q is not an escaped name", segment)
	}
	return name, nil
}
