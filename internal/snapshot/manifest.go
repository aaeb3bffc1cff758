// Package snapshot says what a snapshot is: its identity, the keys of its objects on a target, and its manifest.
//
// It knows no storage: package catalog keeps snapshots in a store.
package snapshot

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/backupd/backupd/internal/recognise"
)

// Format is the version of the manifest that this program writes. It reads no newer one.
const Format = 1

// Grade says how still the data was while it was read.
type Grade string

// From the best to the worst.
const (
	Cold   Grade = "cold"   // no container that could write was running
	Frozen Grade = "frozen" // every container that could write was held throughout
	Still  Grade = "still"  // not held, but proven not to have moved
	Fuzzy  Grade = "fuzzy"  // data may have moved while it was read
)

// Manifest is the commit of a snapshot: it is written after the archive, never changed, and holds no secret.
type Manifest struct {
	Format  int       `json:"format"`
	ID      ID        `json:"id"`
	Host    string    `json:"host"`
	Owner   string    `json:"owner"` // of the host's state directory: tells apart two hosts under one name
	Volume  string    `json:"volume"`
	Taken   time.Time `json:"taken"` // the moment that the data is of, UTC
	Program string    `json:"program"`

	Quiesce string `json:"quiesce"` // what was asked for: pause, stop or none
	Grade   Grade  `json:"grade"`   // what came of it
	Held    []Held `json:"held"`
	Hooks   []Hook `json:"hooks,omitempty"` // in the order in which they ended

	// Suspect says why the content is not believed to be what the volume should hold; "" when nothing is wrong with it.
	Suspect string `json:"suspect,omitempty"`
	// Accepted is what would have made it suspect, and was meant, as somebody has said. What comes later is compared with nothing older.
	Accepted string `json:"accepted,omitempty"`

	// Archives are all that the data is read from. The first is the one whose index is the snapshot's: its own, or, where nothing had changed,
	// that of the snapshot before; the others are those that this one leans on.
	Archives []Archive `json:"archives"`
	Contents Contents  `json:"contents"`
	Restore  Restore   `json:"restore"`
}

// Held is a container or a swarm service that was made to hold still, and for how long.
type Held struct {
	Container    string `json:"container"` // name, of the service if it is one
	Service      bool   `json:"service,omitempty"`
	Milliseconds int64  `json:"ms"`
}

// Hook is a command that a container asked for and that was run in it. What it was and what it printed is not told: there may be a secret
// in either.
type Hook struct {
	Container    string `json:"container"` // name
	Hook         string `json:"hook"`      // "pre", "during" or "post"
	Exit         int    `json:"exit"`
	Milliseconds int64  `json:"ms"`
	Failed       string `json:"failed,omitempty"` // why there is no exit code
}

// Archive is one stored archive, in the folder of the snapshot's volume.
type Archive struct {
	ID        ID     `json:"id"`        // of the snapshot that wrote it
	Size      int64  `json:"size"`      // bytes as stored
	Plain     int64  `json:"plain"`     // bytes of the tar stream that its index makes of it, and of what it leans on
	Directory Digest `json:"directory"` // of the directory in its index, which vouches for all of it and for any part that is read alone

	// Encryption is how it is encrypted as a whole; "" for not at all. Stored is then the digest of all bytes as they are stored, by which
	// somebody without a key can check them.
	Encryption Encryption `json:"encryption,omitempty"`
	Stored     Digest     `json:"stored,omitzero"`
}

// Encryption is a way to encrypt an archive.
type Encryption string

// Age is https://age-encryption.org/v1.
const Age Encryption = "age"

// Kind is what the archive lies on a target as.
func (a Archive) Kind() Kind {
	if a.Encryption == Age {
		return SealedKind
	}
	return ArchiveKind
}

// Digest is a SHA-256; zero is none. As text it is hexadecimal.
type Digest [32]byte

// MarshalText gives the digest in hexadecimal digits.
func (d Digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText takes all of a digest's hexadecimal digits.
func (d *Digest) UnmarshalText(text []byte) error {
	if n, err := hex.Decode(d[:], text[:min(len(text), 2*len(d))]); err != nil || n < len(d) || len(text) > 2*len(d) {
		return fmt.Errorf("%.80q is not a SHA-256 digest", text)
	}
	return nil
}

// Contents counts what is in a snapshot, and what went otherwise than it should while it was read.
type Contents struct {
	Entries  int64 `json:"entries"` // files, folders (the volume's own too), links, devices and pipes
	Bytes    int64 `json:"bytes"`   // of the data of regular files, each hard link counted once
	Vanished int64 `json:"vanished,omitempty"`
	Resized  int64 `json:"resized,omitempty"`
	Sockets  int64 `json:"sockets,omitempty"` // skipped, as they cannot be restored
	Cloned   int64 `json:"cloned,omitempty"`  // files that were cloned while containers were held, and read afterwards
	Mounts   int64 `json:"mounts,omitempty"`  // places where something else is mounted, which is not the volume's

	// Databases are those that were recognised. In the manifest of an encrypted snapshot only their kinds are told, each once.
	Databases []recognise.Find `json:"databases,omitempty"`
}

// Empty tells whether there is nothing but the volume's own folder.
func (c Contents) Empty() bool { return c.Entries <= 1 }

// Restore is what it takes to make the volume again.
type Restore struct {
	Driver     string            `json:"driver,omitempty"`
	Options    map[string]string `json:"options,omitempty"`
	Withheld   []string          `json:"withheld,omitempty"` // names of options that carry credentials: to be given at restore
	Labels     map[string]string `json:"labels,omitempty"`
	Containers []Container       `json:"containers,omitempty"`

	// Sealed is all of this, credentials too, encrypted like the archive; then there is nothing else here.
	Sealed []byte `json:"sealed,omitempty"`
}

// Container is one that mounted the volume when it was backed up.
type Container struct {
	Name    string `json:"name"`
	Image   string `json:"image"`
	ImageID string `json:"image_id"` // digest of the image's configuration
	Project string `json:"project,omitempty"`
	Service string `json:"service,omitempty"`

	// Run is how its process was started; nil in manifests of earlier programs, and where the engine did not tell.
	Run *Run `json:"run,omitempty"`
}

// Run is what it takes to start a container's process on the volume's data again, except for values of environment variables and other
// credentials.
type Run struct {
	Digests     []string `json:"digests,omitempty"` // of the image as registries have it, NAME@sha256:...
	Destination string   `json:"destination"`       // where it had the volume
	ReadOnly    bool     `json:"read_only,omitempty"`
	Active      bool     `json:"active,omitempty"` // it ran
	Entrypoint  []string `json:"entrypoint,omitempty"`
	Command     []string `json:"command,omitempty"`
	Folder      string   `json:"folder,omitempty"` // working directory
	User        string   `json:"user,omitempty"`
	Environment []string `json:"environment,omitempty"` // names
	Health      *Health  `json:"health,omitempty"`      // nil without a health check
	Elsewhere   []string `json:"elsewhere,omitempty"`   // where it had something else of the outside
	Memory      int64    `json:"memory,omitempty"`      // bytes that it might use; 0 for no limit
	Shared      int64    `json:"shared,omitempty"`      // bytes of shared memory, of these; 0 for what engines give
}

// Health is a container's own health check.
type Health struct {
	Test        []string      `json:"test"` // as in the Docker API: CMD and a program with its arguments, or CMD-SHELL and a line
	Interval    time.Duration `json:"interval_ns,omitempty"`
	Timeout     time.Duration `json:"timeout_ns,omitempty"`
	StartPeriod time.Duration `json:"start_period_ns,omitempty"`
	Retries     int           `json:"retries,omitempty"`
}

// Ref says which snapshot this is the manifest of.
func (m Manifest) Ref() Ref { return Ref{Host: m.Host, Volume: m.Volume, ID: m.ID} }

// Good tells whether the data is as still as was asked for and not suspect. Only good snapshots count for retention and as
// "latest".
func (m Manifest) Good() bool { return m.Suspect == "" && (m.Grade != Fuzzy || m.Quiesce == "none") }

// StoredBytes is the size of the snapshot's own archive, and 0 when it wrote none.
func (m Manifest) StoredBytes() int64 {
	if len(m.Archives) > 0 && m.Index().ID == m.ID {
		return m.Index().Size
	}
	return 0
}

// Index is the archive whose index is the snapshot's.
func (m Manifest) Index() Archive { return m.Archives[0] }

// Leans tells whether the data lies in more than the one archive that has the index.
func (m Manifest) Leans() bool { return len(m.Archives) > 1 }

// Needs tells whether the data is read from an archive, given by the id of the snapshot that wrote it.
func (m Manifest) Needs(archive ID) bool {
	return slices.ContainsFunc(m.Archives, func(a Archive) bool { return a.ID == archive })
}

// ReadBytes is the size of all archives that the data is read from.
func (m Manifest) ReadBytes() (n int64) {
	for _, a := range m.Archives {
		n += a.Size
	}
	return n
}

// Encrypted tells whether it takes a key to read the data.
func (m Manifest) Encrypted() bool {
	return slices.ContainsFunc(m.Archives, func(a Archive) bool { return a.Encryption != "" })
}

// HeldMS is the longest that any container was held, in milliseconds.
func (m Manifest) HeldMS() int64 {
	var longest int64
	for _, h := range m.Held {
		longest = max(longest, h.Milliseconds)
	}
	return longest
}

// MaxManifest is the most bytes that a manifest may have.
const MaxManifest = 4 << 20

// Encode gives the manifest as it is stored.
func (m Manifest) Encode() ([]byte, error) {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode manifest %s: %w", m.ID, err)
	}
	return append(data, '\n'), nil
}

// Decode reads the manifest that should lie at ref, and trusts nothing in it: what is outside the format, of a newer one, or
// speaks of another snapshot than ref is an error.
func Decode(data []byte, ref Ref) (Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return Manifest{}, fmt.Errorf("read manifest %s: %w", ref.ID, err)
	}
	// A folder can have a name that is no text, which JSON cannot hold: such a name is known by where the manifest lies.
	if m.Host == text(ref.Host) && m.Volume == text(ref.Volume) {
		m.Host, m.Volume = ref.Host, ref.Volume
	}
	if err := m.check(ref); err != nil {
		return Manifest{}, fmt.Errorf("read manifest %s: %w", ref.ID, err)
	}
	return m, nil
}

// text is what becomes of a string in JSON.
func text(s string) string { return string([]rune(s)) }

func (m Manifest) check(ref Ref) error {
	switch {
	case m.Format > Format:
		return fmt.Errorf("it has format %d and this program reads up to %d: use a newer backupd", m.Format, Format)
	case m.Format < 1:
		return fmt.Errorf("it has no format version")
	case m.Ref() != ref:
		return fmt.Errorf("it speaks of snapshot %s of volume %q on host %q, and lies where %s of %q on %q belongs",
			m.ID, m.Volume, m.Host, ref.ID, ref.Volume, ref.Host)
	case m.Taken.IsZero():
		return fmt.Errorf("it does not say when the data was taken")
	case m.Grade != Cold && m.Grade != Frozen && m.Grade != Still && m.Grade != Fuzzy:
		return fmt.Errorf("grade %q is unknown", m.Grade)
	case len(m.Archives) == 0:
		return fmt.Errorf("it names no archive")
	}
	return checkArchives(m.Archives, m.ID)
}

func checkArchives(all []Archive, own ID) error {
	named := map[ID]bool{}
	for i, a := range all {
		if err := a.check(); err != nil {
			return err
		}
		switch {
		case named[a.ID]:
			return fmt.Errorf("archive %s: it is named twice", a.ID)
		case a.ID == own && i > 0:
			return fmt.Errorf("archive %s: it is the snapshot's own, and does not come first", a.ID)
		}
		named[a.ID] = true
	}
	return nil
}

func (a Archive) check() error {
	if _, err := ParseID(string(a.ID)); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if a.Directory == (Digest{}) {
		return fmt.Errorf("archive %s: it does not say the digest of its directory", a.ID)
	}
	if a.Size < 0 || a.Plain < 0 {
		return fmt.Errorf("archive %s: a size is negative", a.ID)
	}
	if a.Encryption != "" && a.Encryption != Age {
		return fmt.Errorf("archive %s: it is encrypted by %q, which this program does not know: use a newer backupd", a.ID, a.Encryption)
	}
	return nil
}
