package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/archive"
)

// The exit codes.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2 // wrong usage or configuration
	exitSome    = 3 // some volumes failed
	exitDamaged = 4 // damaged data found
)

// coded is an error that knows its exit code.
type coded struct {
	error
	code int
}

func (c coded) Unwrap() error { return c.error }

func usage(err error) error {
	if err == nil {
		return nil
	}
	return coded{err, exitUsage}
}

func usagef(format string, args ...any) error { return usage(fmt.Errorf(format, args...)) }

func exitCode(err error) int {
	var c coded
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &c):
		return c.code
	case errors.Is(err, archive.ErrDamaged):
		return exitDamaged
	default:
		return exitFailed
	}
}

// ofVolume is what went wrong with a volume: each line of it names the volume.
type ofVolume struct {
	volume string
	err    error
}

func (o ofVolume) Unwrap() error { return o.err }

func (o ofVolume) Error() string {
	name := strconv.Quote(o.volume)
	lines := strings.Split(o.err.Error(), "\n")
	for i, line := range lines {
		if !strings.Contains(line, name) {
			lines[i] = "volume " + name + ": " + line
		}
	}
	return strings.Join(lines, "\n")
}

// printError prints an error for people. What several errors were joined to has a line each.
func printError(w io.Writer, err error) {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(w, "backupd:", printable(strings.TrimRight(line, "\n")))
	}
	if errors.Is(err, unix.ENOSPC) {
		fmt.Fprintln(w, "backupd: make room on the disk of what is named, and try again: it has no block, or no inode, left (df, df -i)")
	}
}

// printable keeps names from outside from doing tricks on a terminal.
func printable(s string) string {
	clean := func(r rune) rune {
		if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}
	return strings.Map(clean, s)
}
