package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed pg.sh
var makePG string

// prepare makes a set that can be made and is not there, and reads it once, so that every command finds it in the page cache.
func (b *runner) prepare(set string) error {
	dir := filepath.Join(b.data, set)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && set == "pg" {
		if err := b.makePG(dir); err != nil {
			return err
		}
	} else if err != nil {
		return fmt.Errorf("set %s: %w", set, err)
	}
	warm := exec.CommandContext(b.ctx, "tar", "cf", "-", "-C", dir, ".") // to a pipe: tar does not read what goes to /dev/null
	warm.Stdout = discard{}
	if err := warm.Run(); err != nil {
		return fmt.Errorf("read set %s: %w", set, err)
	}
	return nil
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func (b *runner) makePG(dir string) error {
	fmt.Fprintln(os.Stderr, "bench: making a PostgreSQL data folder in", dir)
	if err := os.MkdirAll(b.data, 0o755); err != nil {
		return err
	}
	// Its user must be able to get there.
	for parent := b.data; parent != "/"; parent = filepath.Dir(parent) {
		if info, err := os.Stat(parent); err != nil || info.Mode()&0o001 == 0 {
			return fmt.Errorf("folder %s must be open to all (chmod o+x), so that PostgreSQL's user can work in %s: %v", parent, b.data, err)
		}
	}
	partial := dir + ".partial"
	cmd := exec.CommandContext(b.ctx, "bash", "-s", "--", partial)
	cmd.Stdin = strings.NewReader(makePG)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("make set pg: %w", errors.Join(err, os.RemoveAll(partial)))
	}
	return os.Rename(partial, dir)
}
