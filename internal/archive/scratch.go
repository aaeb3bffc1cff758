package archive

import (
	"errors"
	"fmt"
	"os"
)

// ScratchFile opens a new file for what does not fit into memory. It has no name any more, so it goes with its descriptor, whatever
// ends the process.
func ScratchFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "backupd-*")
	if err != nil {
		return nil, fmt.Errorf("make a scratch file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("unlink a scratch file: %w", err), f.Close())
	}
	return f, nil
}
