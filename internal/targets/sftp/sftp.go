// Package sftp is a store in a folder of a server that is reached by SSH. It is the only door to github.com/pkg/sftp and
// golang.org/x/crypto/ssh.
//
// The server's key has to be in known_hosts, without exception. All calls share one connection, which is made anew when it breaks, also
// in the middle of an object. A server that does not answer for a minute is given up.
//
// An object is written under a name that no listing shows, and then linked to its key, which never replaces; where the server cannot
// link it is renamed, which by the protocol does not replace either. It is fsynced before and after that, where the server can
// (OpenSSH can): the protocol has no way to sync a folder, but Linux's file systems make the names of a file durable with it.
package sftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"sync"
	"time"

	"github.com/pkg/sftp"

	"github.com/backupd/backupd/internal/targets"
)

// Store is a targets.Store. Like a disk, it cannot keep both "a" and "a/b".
type Store struct {
	at     location
	times  times
	mu     sync.Mutex
	latest *connection // nil before the first, and after one that broke
}

// times are how long things may take.
type times struct {
	dial      time.Duration // until there is a connection
	interval  time.Duration // between questions whether the server is there
	patience  time.Duration // for their answers
	grace     time.Duration // for an answer when nobody waits for it any more
	firstWait time.Duration // before a call is tried again, twice as long each time
}

// Open makes a store of a URL like
//
//	sftp://user@host:22/folder?identity=/etc/backupd/id_ed25519&known-hosts=/etc/backupd/known_hosts
//
// Without identity the keys are those of the agent at SSH_AUTH_SOCK and of ~/.ssh; without known-hosts the hosts are those of
// ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts. It does not ask the server anything: that is for Check.
func Open(u *url.URL) (*Store, error) {
	return open(u, times{
		dial: 30 * time.Second, interval: 15 * time.Second, patience: 45 * time.Second, grace: 5 * time.Second, firstWait: time.Second,
	})
}

func open(u *url.URL, times times) (*Store, error) {
	at, err := parse(u)
	if err != nil {
		return nil, fmt.Errorf("target URL: %w", err)
	}
	return &Store{at: at, times: times}, nil
}

// CheckURL says what is wrong with a URL, and asks nobody.
func CheckURL(u *url.URL) error {
	_, err := parse(u)
	return err
}

// path gives the name on the server of what has the key, and that of the folder for "".
func (s *Store) path(key string) string { return path.Join(s.at.folder, key) }

// wrap says what was attempted on which thing.
func (s *Store) wrap(op, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", op, s.at.of(key), err)
}

// Check makes the folder if need be, though not its parent, which may be a disk that is not mounted. It writes a file and takes it
// away again, and with it what writers that were killed have left.
func (s *Store) Check(ctx context.Context) error {
	err := s.retry(ctx, func(c *connection) error {
		if info, err := c.Stat(s.path("")); err == nil && !info.IsDir() {
			return errors.New("it is not a folder")
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := c.Mkdir(s.path("")); err != nil {
			return fmt.Errorf("create it: %w (is what it lies in there?)", err)
		}
		return nil
	})
	if err == nil {
		err = s.probe(ctx)
	}
	return s.wrap("use target folder", "", err)
}

func (s *Store) probe(ctx context.Context) error {
	p := s.newPartial()
	err := p.write(ctx, bytes.NewReader(make([]byte, 4096)))
	if err == nil {
		err = s.retry(ctx, func(c *connection) error { return s.sweep(c, p.path) })
	}
	return errors.Join(err, p.discard(ctx))
}

// sweep goes by the clock of the server, which has just written a file.
func (s *Store) sweep(c *connection, fresh string) error {
	now, err := c.Lstat(fresh)
	if err != nil {
		return err
	}
	left, err := c.ReadDir(s.path(targets.Partials))
	for _, info := range left {
		if err == nil && targets.CheckName(info.Name()) == nil && info.Mode().IsRegular() && now.ModTime().Sub(info.ModTime()) > targets.Abandoned {
			err = remove(c, s.path(targets.Partials+"/"+info.Name()))
		}
	}
	return err
}

// Delete is described at targets.Store. Folders that it leaves empty stay: another Put may be about to use them.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := targets.CheckUnreserved(key); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return s.wrap("delete", key, s.retry(ctx, func(c *connection) error { return remove(c, s.path(key)) }))
}

// remove looks before, as the library would remove a folder, too.
func remove(c *connection, name string) error {
	info, err := c.Lstat(name)
	if err == nil && !info.IsDir() {
		err = c.Remove(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// answered tells whether an error is what the server said, so that asking again brings nothing else. All others are those of a
// connection that is of no use any more.
func answered(err error) bool {
	status := (*sftp.StatusError)(nil)
	return err == nil || errors.As(err, &status) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.As(err, new(*final))
}

// final is an error of ours.
type final struct{ error }

func (f *final) Unwrap() error { return f.error }

var (
	_ targets.Store   = (*Store)(nil)
	_ targets.Checker = (*Store)(nil)
)
