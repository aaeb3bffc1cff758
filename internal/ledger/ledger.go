// Package ledger remembers, in the state directory, what must outlive a run and a restart: when each volume was seen and backed up,
// what labels of containers said about it, and who owns this state directory.
//
// It promises that several processes can write without losing each other's changes, and that a crash leaves the old or the new
// content. What the entries mean is for the daemon and package plan to know.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/backupd/backupd/internal/durable"
)

const (
	fileName  = "ledger.json"
	lockName  = "ledger.lock"
	ownerName = "owner"

	// Nobody holds the lock for longer than it takes to write a small file, unless it was frozen in between.
	patience = 10 * time.Second
)

// ErrNewer marks a ledger that a newer backupd has written. This one would lose what it does not know.
var ErrNewer = errors.New("written by a newer backupd")

// Ledger is an open ledger. Its methods may be called from several goroutines at once.
type Ledger struct {
	dir   string
	owner string

	mu    sync.Mutex
	state State
	seen  fs.FileInfo // the file that state was read from or written to; nil when there was none
}

// Open opens the ledger of a state directory, which must exist, and makes owner id and ledger if there are none. Entropy is read
// for a new owner id only.
//
// A ledger that cannot be read as one is moved out of the way, to ledger.json.bad-1 or the next free number, and a new one begun:
// aside then says what was wrong and where the old one is. Its loss does not stop backups, so it is no reason to refuse, but it
// should be told loudly.
func Open(stateDir string, entropy io.Reader) (l *Ledger, aside, err error) {
	l = &Ledger{dir: stateDir}
	err = l.locked(func() error {
		if l.owner, err = loadOwner(filepath.Join(stateDir, ownerName), entropy); err != nil {
			return err
		}
		err := l.refresh()
		if errors.Is(err, errDamaged) {
			aside, err = l.setAside(l.path(), err)
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("open ledger in %s: %w", stateDir, err)
	}
	return l, aside, nil
}

// Owner is the random id of the state directory, made once: 32 hexadecimal digits.
func (l *Ledger) Owner() string { return l.owner }

// View gives a copy of what is remembered, other processes' changes included.
func (l *Ledger) View() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Why the file cannot be read is for the next Update to say; what was known until then is the best answer to a question.
	_ = l.refresh()
	return l.state.clone()
}

// Update changes what is remembered. Nothing changes when change returns an error. When the change cannot be written, the error says
// so, and this process remembers it nevertheless: a daemon on a full disk must not believe for ever that a run is still to be made.
func (l *Ledger) Update(change func(*State) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := false
	err := l.locked(func() error {
		if err := l.refresh(); err != nil {
			return err
		}
		fresh = true
		return l.apply(change, l.write)
	})
	if !fresh { // neither what others wrote can be read, nor anything be written
		err = errors.Join(err, l.apply(change, func([]byte) error { return nil }))
	}
	if err != nil {
		return fmt.Errorf("update ledger in %s: %w", l.dir, err)
	}
	return nil
}

func (l *Ledger) apply(change func(*State) error, write func(data []byte) error) error {
	next := l.state.clone()
	if err := change(&next); err != nil {
		return err
	}
	l.state = next
	data, err := next.encode()
	if err != nil {
		return err
	}
	return write(data)
}

func (l *Ledger) write(data []byte) (err error) {
	if err := durable.WriteFile(l.path(), data, 0o600); err != nil {
		return err
	}
	l.seen, err = os.Lstat(l.path())
	return err
}

// locked does something while no other process writes.
func (l *Ledger) locked(do func() error) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	lock, err := durable.LockWait(ctx, filepath.Join(l.dir, lockName))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	return do()
}

// refresh reads the file if it is another one than was last seen; every write makes another one.
func (l *Ledger) refresh() error {
	info, err := os.Lstat(l.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil // none yet, or removed under our hands: what this process knows is then all there is
	}
	if err != nil {
		return err
	}
	if l.seen != nil && os.SameFile(l.seen, info) && l.seen.ModTime().Equal(info.ModTime()) && l.seen.Size() == info.Size() {
		return nil
	}
	state, err := read(l.path(), info)
	if err != nil {
		return err
	}
	l.state, l.seen = state, info
	return nil
}

func read(path string, info fs.FileInfo) (State, error) {
	data, err := readRegular(path, info, maxSize)
	if err != nil {
		return State{}, err
	}
	return decode(data)
}

func readRegular(path string, info fs.FileInfo, most int64) ([]byte, error) {
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it is not a regular file", errDamaged)
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%w: it has %d bytes, and no ledger more than %d", errDamaged, info.Size(), most)
	}
	return os.ReadFile(path)
}

// setAside moves a damaged file out of the way, and tells the world.
func (l *Ledger) setAside(path string, damage error) (aside, err error) {
	for n := 1; ; n++ {
		bad := fmt.Sprintf("%s.bad-%d", path, n)
		if _, err := os.Lstat(bad); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err := os.Rename(path, bad); err != nil {
			return nil, err
		}
		return fmt.Errorf("%s: %w; it is now %s, and a new one begins", path, damage, bad), durable.SyncDir(filepath.Dir(path))
	}
}

func (l *Ledger) path() string { return filepath.Join(l.dir, fileName) }
