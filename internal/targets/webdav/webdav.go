// Package webdav is a store in a folder of a WebDAV server.
//
// An object is sent under a name that no listing shows, its size is asked for, and it is moved to its key with "Overwrite: F", which by the
// protocol never replaces. Durable is what the server calls stored. A stream of more than a MiB is sent once: where its line breaks, Put
// fails; all else is tried again. Reading goes on where it was cut off.
package webdav

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/targets"
)

// Store is a targets.Store. Like a disk, it cannot keep both "a" and "a/b".
type Store struct {
	at       location
	password string
	client   *http.Client
	times    times
}

// times are how long things may take.
type times struct {
	connect   time.Duration // for a connection, and again for its encryption
	answer    time.Duration // for an answer to begin, once all was sent
	silence   time.Duration // for more bytes of one
	firstWait time.Duration // before a call is tried again, twice as long each time
}

// Open makes a store of a URL like
//
//	webdavs://user@host/folder?password-file=/etc/backupd/webdav
//
// It does not ask the server anything: that is for Check.
func Open(u *url.URL) (*Store, error) {
	return open(u, times{connect: 15 * time.Second, answer: 5 * time.Minute, silence: time.Minute, firstWait: time.Second})
}

func open(u *url.URL, times times) (*Store, error) {
	at, err := parse(u)
	if err != nil {
		return nil, fmt.Errorf("target URL: %w", err)
	}
	s := &Store{at: at, times: times}
	if s.password, err = at.readPassword(); err != nil {
		return nil, fmt.Errorf("open target %s: %w", at.of(""), err)
	}
	if s.client, err = newClient(at.caFile, times); err != nil {
		return nil, fmt.Errorf("open target %s: %w", at.of(""), err)
	}
	return s, nil
}

// CheckURL says what is wrong with a URL, and asks nobody.
func CheckURL(u *url.URL) error {
	_, err := parse(u)
	return err
}

// wrap says what was attempted on which thing.
func (s *Store) wrap(op, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", op, s.at.of(key), err)
}

// Check makes the folder if need be, though not its parent. It puts a small object and takes it away again, and with it what writers that
// were killed have left.
func (s *Store) Check(ctx context.Context) error {
	_, err := s.propfind(ctx, "", "0")
	if errors.Is(err, fs.ErrNotExist) {
		if err = s.call(ctx, "MKCOL", s.at.folderURL(""), nil); err != nil {
			err = fmt.Errorf("create it: %w (is what it lies in there?)", err)
		}
	}
	if err == nil {
		err = s.probe(ctx)
	}
	return s.wrap("use target folder", "", err)
}

func (s *Store) probe(ctx context.Context) error {
	partial := targets.NewPartial()
	_, err := s.send(ctx, partial, strings.NewReader("backupd looks whether it can write here"))
	if err == nil {
		err = s.sweep(ctx, partial)
	}
	return errors.Join(err, s.discard(ctx, partial))
}

// sweep goes by the clock of the server, which has just written a file.
func (s *Store) sweep(ctx context.Context, fresh string) error {
	now, err := s.stat(ctx, fresh)
	if err != nil || now.modified.IsZero() {
		return err
	}
	left, err := s.propfind(ctx, targets.Partials+"/", "1")
	for _, e := range left {
		if err == nil && !e.folder && !e.modified.IsZero() && now.modified.Sub(e.modified) > targets.Abandoned {
			err = s.remove(ctx, targets.Partials+"/"+e.name)
		}
	}
	return err
}

// Delete is described at targets.Store. Folders that it leaves empty stay: another Put may be about to use them.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := targets.CheckUnreserved(key); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return s.wrap("delete", key, s.remove(ctx, key))
}

// remove looks before, as the server would remove a folder with all that is in it.
func (s *Store) remove(ctx context.Context, key string) error {
	_, err := s.stat(ctx, key)
	if err == nil {
		err = s.call(ctx, http.MethodDelete, s.at.url(key), nil)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

var (
	_ targets.Store   = (*Store)(nil)
	_ targets.Checker = (*Store)(nil)
)
