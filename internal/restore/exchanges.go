package restore

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/durable"
	"github.com/backupd/backupd/internal/snapshot"
)

// Exchanges remembers in a folder, a file for each volume, where restores have exchanged something: from just before that begins until nothing of it
// is left, to be put in order or to be kept. Who works on a volume has its lock.
type Exchanges struct{ Dir string }

// Exchange is what is remembered of a volume.
type Exchange struct {
	Volume  string    // name
	Folder  string    // of this host that has its content; "" elsewhere
	Pending bool      // an exchange was begun, and is not known to have ended
	At      time.Time // when the last one was begun, UTC
}

const (
	exchangeFormat = "backupd exchanged 1"
	exchangeEnd    = ".json"
	maxExchange    = 64 << 10 // bytes of a file
)

// exchangeFile is an Exchange as it is stored. A name may be no text, and is escaped.
type exchangeFile struct {
	Format  string    `json:"format"`
	Volume  string    `json:"volume"`
	Folder  []byte    `json:"folder,omitempty"`
	Pending bool      `json:"pending,omitempty"`
	At      time.Time `json:"at"`
}

// path has a digest of the name, which may be as long as a file's.
func (x Exchanges) path(volume string) string {
	sum := sha256.Sum256([]byte(volume))
	return filepath.Join(x.Dir, hex.EncodeToString(sum[:16])+exchangeEnd)
}

// Remember keeps what it is given, for good.
func (x Exchanges) Remember(e Exchange) error {
	data, err := json.Marshal(exchangeFile{exchangeFormat, snapshot.Escape(e.Volume), []byte(e.Folder), e.Pending, e.At.UTC()})
	if err == nil {
		err = os.MkdirAll(x.Dir, 0o700)
	}
	if err == nil {
		err = durable.WriteFile(x.path(e.Volume), append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("remember the exchange in volume %q: %w", e.Volume, err)
	}
	return nil
}

// Forget forgets what is remembered of a volume.
func (x Exchanges) Forget(volume string) error {
	err := os.Remove(x.path(volume))
	if err == nil {
		err = durable.SyncDir(x.Dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the exchange in volume %q: %w", volume, err)
	}
	return nil
}

// Of gives what is remembered of a volume; nothing is fs.ErrNotExist.
func (x Exchanges) Of(volume string) (Exchange, error) {
	e, err := x.read(x.path(volume))
	if err == nil && e.Volume != volume {
		err = fmt.Errorf("%s is about volume %q: remove it", x.path(volume), e.Volume)
	}
	return e, err
}

// All gives all that is remembered. With an error it gives what could be read.
func (x Exchanges) All() (all []Exchange, err error) {
	files, err := os.ReadDir(x.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	errs := []error{err}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), exchangeEnd) || strings.HasPrefix(f.Name(), ".") {
			continue
		}
		e, err := x.read(filepath.Join(x.Dir, f.Name()))
		switch {
		case errors.Is(err, fs.ErrNotExist): // forgotten just now
		case err != nil:
			errs = append(errs, err)
		default:
			all = append(all, e)
		}
	}
	return all, errors.Join(errs...)
}

func (x Exchanges) read(path string) (Exchange, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return Exchange{}, err
	}
	defer file.Close()
	var f exchangeFile
	if err := json.NewDecoder(io.LimitReader(file, maxExchange)).Decode(&f); err != nil {
		return Exchange{}, fmt.Errorf("read %s: %w", path, err)
	}
	volume, err := snapshot.Unescape(f.Volume)
	if err == nil && f.Format != exchangeFormat {
		err = fmt.Errorf("its format is %q, not %q", f.Format, exchangeFormat)
	}
	if err == nil && len(f.Folder) > 0 && !filepath.IsAbs(string(f.Folder)) {
		err = fmt.Errorf("%q is no folder", f.Folder)
	}
	if err != nil {
		return Exchange{}, fmt.Errorf("read %s: %w", path, err)
	}
	return Exchange{Volume: volume, Folder: string(f.Folder), Pending: f.Pending, At: f.At}, nil
}
