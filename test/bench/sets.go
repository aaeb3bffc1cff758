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

// oneFile is the file of a set that is restored alone: a small one of a database, else one from the middle.
func oneFile(dir string) (name string, err error) {
	const control = "global/pg_control"
	if _, err := os.Stat(filepath.Join(dir, control)); err == nil {
		return control, nil
	}
	left := 25_000
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if name, err = filepath.Rel(dir, path); left == 0 {
			return filepath.SkipAll
		}
		left--
		return err
	})
	return name, err
}

// prepare makes a set that can be made and is not there, and reads it once, so that every command finds it in the page cache.
func (b *runner) prepare(set string) error {
	dir := filepath.Join(b.data, set)
	_, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(os.Stderr, "bench: making the set", set, "in", dir)
		switch set {
		case "pg":
			err = b.makePG(dir)
		case "small":
			err = makeSmall(dir)
		}
	}
	if err != nil {
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
		return errors.Join(err, os.RemoveAll(partial))
	}
	return os.Rename(partial, dir)
}
