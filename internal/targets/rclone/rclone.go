// Package rclone is a store wherever the user's own rclone can reach: it runs that program, once or more for each call, with the
// configuration that it finds by itself. What rclone can try again it does.
//
// An object is sent to a folder that no listing shows, and moved to its key once it is there whole. What this cannot promise is what
// rclone cannot:
//
//   - Never to replace is a look before the move. Of several writers in this process one wins; one elsewhere, in the same moment, may
//     replace what another put. Whoever writes snapshots of a volume holds its lock, so that takes two hosts of one name.
//   - Durable is what the remote calls stored. On a disk of this host that is the page cache: a file:// target is better there.
//   - Where moving is a copy and a removal (S3 and its like), and the context ends while the server copies, for longer than it is
//     waited for, the object may appear although Put has failed.
//
// Remotes that can neither move nor copy on their own side would have everything sent twice, the second time under its key, and are
// refused. To those that cannot take a stream of unknown length rclone sends from a temporary file, which needs the room for it.
package rclone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os/exec"
	"strings"

	"github.com/backupd/backupd/internal/targets"
)

// Store is a targets.Store. Like a disk, it cannot keep both "a" and "a/b".
type Store struct {
	program string // rclone
	at      location
	putting locks // of keys
}

// Open makes a store of a URL like rclone:remote:path, of a remote that rclone has in its configuration. It asks rclone nothing: that
// is for Check.
func Open(u *url.URL) (*Store, error) {
	at, err := parse(u)
	if err != nil {
		return nil, fmt.Errorf("target URL: %w", err)
	}
	program, err := exec.LookPath("rclone")
	if err != nil {
		return nil, fmt.Errorf("run rclone for target %s: %w (install it, or set the PATH of backupd so that it is found)", at, err)
	}
	return &Store{program: program, at: at}, nil
}

// CheckURL says what is wrong with a URL, and asks nobody.
func CheckURL(u *url.URL) error {
	_, err := parse(u)
	return err
}

// Check puts a small object and takes it away again, and with it what writers that were killed have left.
func (s *Store) Check(ctx context.Context) error {
	if err := s.checkFeatures(ctx); err != nil {
		return fmt.Errorf("check target %s: %w", s.at, err)
	}
	partials := s.at.of(targets.Partials)
	if err := s.run(ctx, "delete", "--min-age="+targets.Abandoned.String(), partials); err != nil && !isAbsent(err) {
		return fmt.Errorf("remove what was left in %s: %w", partials, err)
	}
	partial := targets.NewPartial()
	_, err := s.send(ctx, partial, strings.NewReader("backupd looks whether it can write here"))
	if err := errors.Join(err, s.discard(ctx, partial)); err != nil {
		return fmt.Errorf("write to target %s: %w", s.at, err)
	}
	return nil
}

func (s *Store) checkFeatures(ctx context.Context) error {
	out, err := s.output(ctx, "backend", "features", s.at.remote+":")
	if err != nil {
		return err
	}
	var can struct{ Features struct{ Move, Copy bool } }
	if err := json.Unmarshal(out, &can); err != nil {
		return fmt.Errorf("read what rclone tells of the remote: %w", err)
	}
	if !can.Features.Move && !can.Features.Copy {
		return errors.New("this kind of remote can neither move nor copy a file on its own side, without which backups would not appear whole: use another")
	}
	return nil
}

// Delete is described at targets.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := targets.CheckUnreserved(key); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if err := s.remove(ctx, key); err != nil {
		return fmt.Errorf("delete %s: %w", s.at.of(key), err)
	}
	return nil
}

// remove looks only when removing fails: rclone has no word of its own for a file that is not there.
func (s *Store) remove(ctx context.Context, key string) error {
	failure := s.run(ctx, "deletefile", s.at.of(key))
	if failure == nil || ctx.Err() != nil {
		return failure
	}
	if _, err := s.stat(ctx, key); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return failure
}

var (
	_ targets.Store   = (*Store)(nil)
	_ targets.Checker = (*Store)(nil)
)
