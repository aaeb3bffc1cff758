package folder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/backupd/backupd/internal/durable"
)

// sweep removes the stages that killed restores have left. What one of them was exchanging is for people to look at.
func (f Folder) sweep() error {
	places := []string{f.path}
	if f.beside {
		places = append(places, filepath.Dir(f.path))
	}
	for _, place := range places {
		left, err := stagesIn(place)
		if err != nil {
			return fmt.Errorf("look for what a killed restore may have left: %w", err)
		}
		for _, dir := range left {
			if err := f.clear(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// stagesIn are the folders of stages in a place, which may have very many others.
func stagesIn(place string) (left []string, err error) {
	dir, err := os.Open(place)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	for {
		children, err := dir.ReadDir(1024)
		for _, c := range children {
			if c.IsDir() && (strings.HasPrefix(c.Name(), spareName) || strings.HasPrefix(c.Name(), onlyName)) {
				left = append(left, filepath.Join(place, c.Name()))
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
	if strings.HasPrefix(filepath.Base(dir), spareName) {
		return errors.Join(removeStage(f.path, dir), unused.Unlock())
	}
	if of, err := os.Readlink(filepath.Join(dir, ofName)); err == nil && of != filepath.Base(f.path) {
		return unused.Unlock()
	}
	return errors.Join(fmt.Errorf("a restore was killed while it exchanged the data: what is not in the volume is in %s; "+
		"put back what is needed, remove that folder, and try again", dir), unused.Unlock())
}
