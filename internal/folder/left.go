package folder

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/backupd/backupd/internal/durable"
)

// Replaced gives the stage with what the last restore replaced, or with again, what the last undoing of one did. None is fs.ErrNotExist.
func (f Folder) Replaced(_ context.Context, again bool) (*Stage, error) {
	if err := f.unsettled(); err != nil {
		return nil, err
	}
	wanted := replaced
	if again {
		wanted = undone
	}
	all, err := f.stages(wanted)
	if err != nil {
		return nil, err
	}
	var newest string
	var last time.Time
	for _, dir := range all {
		at, err := exchangedAt(dir)
		if err != nil {
			return nil, err
		}
		if newest == "" || at.After(last) {
			newest, last = dir, at
		}
	}
	if newest == "" {
		return nil, fmt.Errorf("nothing is kept of what was there before: %w", fs.ErrNotExist)
	}
	return f.stageAt(newest)
}

// Drop removes what was replaced before some moment, and gives how many generations of it that were.
func (f Folder) Drop(ctx context.Context, before time.Time) (dropped int, err error) {
	all, err := f.stages(replaced, undone)
	if err != nil {
		return 0, err
	}
	for _, dir := range all {
		at, err := exchangedAt(dir)
		if err != nil {
			return dropped, err
		}
		if at.After(before) {
			continue
		}
		s, err := f.stageAt(dir)
		if err == nil {
			err = s.Discard(ctx)
		}
		if err != nil {
			return dropped, fmt.Errorf("remove what was replaced: %w", err)
		}
		dropped++
	}
	return dropped, nil
}

// exchangedAt is when the last exchange with a stage was planned.
func exchangedAt(dir string) (time.Time, error) {
	info, err := os.Lstat(filepath.Join(dir, planName))
	if err != nil {
		return time.Time{}, fmt.Errorf("look at what was replaced: %w", err)
	}
	return info.ModTime(), nil
}

// Settle brings an exchange to its end that somebody began who is gone: forward, or, where it had been turned back or cannot be completed,
// back. It tells whether there was one. Nobody may use the volume meanwhile. Whoever was at it, and lives after all, moves nothing any more.
func (f Folder) Settle(context.Context) (settled bool, err error) {
	left, err := f.stages(exchanged)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnsettled, err)
	}
	for _, dir := range left {
		s, err := f.takeOver(dir)
		if err != nil {
			return false, fmt.Errorf("%w: take over what is left of an exchange: %w", ErrUnsettled, err)
		}
		if _, err := s.finish(); err != nil {
			return false, err
		}
	}
	return len(left) > 0, nil
}

// takeOver gives a stage a name that nobody else knows.
func (f Folder) takeOver(dir string) (*Stage, error) {
	s, err := f.stageAt(dir)
	if err != nil {
		return nil, err
	}
	s.dir = filepath.Join(filepath.Dir(dir), string(exchanged)+rand.Text())
	return s, s.unseen(filepath.Dir(dir), func() error { return os.Rename(dir, s.dir) })
}

// unsettled tells whether there is an exchange that came to no end.
func (f Folder) unsettled() error {
	left, err := f.stages(exchanged)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // there is no folder, which is for others to find
	}
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%w, as a restore was killed at it: \"backupd recover\", or that restore once more, puts it in order (%s)", ErrUnsettled, left[0])
	}
	return err
}

// sweep removes the stages that killed restores have left before they exchanged anything.
func (f Folder) sweep() error {
	if err := f.unsettled(); err != nil {
		return err
	}
	left, err := f.stages(arriving)
	if err != nil {
		return err
	}
	for _, dir := range left {
		if err := f.clear(dir); err != nil {
			return err
		}
	}
	return nil
}

// clear removes a stage that nobody uses. One without a lock is being made right now, and holds nothing yet.
func (f Folder) clear(dir string) error {
	if _, err := os.Lstat(filepath.Join(dir, lockName)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unused, err := durable.TryLock(filepath.Join(dir, lockName))
	if errors.Is(err, durable.ErrLocked) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look whether a restore that left %s is still at work: %w", dir, err)
	}
	s, err := f.stageAt(dir)
	if err == nil {
		err = s.remove()
	}
	return errors.Join(err, unused.Unlock())
}

// stages are the folders of the volume's stages that hold something of some kinds.
func (f Folder) stages(wanted ...kind) (all []string, err error) {
	places := []string{f.path}
	if f.beside {
		places = append(places, filepath.Dir(f.path))
	}
	for _, place := range places {
		found, err := stagesIn(place, wanted)
		if err != nil {
			return nil, fmt.Errorf("look for what restores may have left: %w", err)
		}
		for _, dir := range found {
			if of, err := os.Readlink(filepath.Join(dir, ofName)); err != nil || of == filepath.Base(f.path) {
				all = append(all, dir)
			}
		}
	}
	return all, nil
}

// stagesIn are the folders of stages in a place, which may have very many others.
func stagesIn(place string, wanted []kind) (left []string, err error) {
	dir, err := os.Open(place)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	for {
		children, err := dir.ReadDir(1024)
		for _, c := range children {
			for _, k := range wanted {
				if c.IsDir() && kindOf(c.Name()) == k {
					left = append(left, filepath.Join(place, c.Name()))
				}
			}
		}
		if err == io.EOF {
			return left, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
