package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// runner runs commands and counts what they cost.
type runner struct {
	ctx        context.Context
	runs       int
	data, work string
	trash      int // folders so far
}

// cost is what one run of a command took.
type cost struct {
	wall, cpu time.Duration
	rss       int64 // KiB, the largest of one process
}

// run runs a shell's command once, in an environment that tells it where things are, and with the set in that state.
func (b *runner) run(set string, p peer, command string, state func(path string) error) (cost, error) {
	src := filepath.Join(b.data, set)
	file, err := oneFile(src)
	if err != nil {
		return cost{}, err
	}
	syscall.Sync() // also because only what is on disk leaves the page cache
	if err := errors.Join(eachFile(src, state), eachFile(b.repo(p), cached)); err != nil {
		return cost{}, err
	}
	cmd := exec.CommandContext(b.ctx, "sh", "-c", command)
	cmd.Env = append(os.Environ(), "SET="+set, "DATA="+b.data, "SRC="+src, "FILE="+file,
		"WORK="+b.work, "REPO="+b.repo(p), "DST="+b.destination())
	began := time.Now()
	said, err := cmd.CombinedOutput()
	took := time.Since(began)
	if err != nil {
		return cost{}, fmt.Errorf("%s: %s: %w\n%s", p.name, command, err, said)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return cost{wall: took, cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), rss: usage.Maxrss}, nil
}

// cached brings a file into the page cache. Some peers push out what they have read.
func cached(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, f)
	return errors.Join(err, f.Close())
}

// uncached pushes a file out of the page cache.
func uncached(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
}

// repo is where a peer keeps its backups.
func (b *runner) repo(p peer) string { return filepath.Join(b.work, "repo", p.id()) }

func (b *runner) destination() string { return filepath.Join(b.work, "dst") }

// fresh makes an empty folder of it. What was there is moved away and emptied, and removed when nothing is timed any more: on ext4 files are
// made slowly just after as many were removed.
func (b *runner) fresh(dir string) error {
	b.trash++
	old := filepath.Join(b.work, "trash", strconv.Itoa(b.trash))
	if err := os.MkdirAll(filepath.Dir(old), 0o755); err != nil {
		return err
	}
	err := os.Rename(dir, old)
	if err == nil {
		err = eachFile(old, func(path string) error { return os.Truncate(path, 0) })
	}
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.MkdirAll(dir, 0o755)
}

func (b *runner) empty() error { return os.RemoveAll(filepath.Join(b.work, "trash")) }

func bytesIn(dir string) (sum int64, err error) {
	err = eachFile(dir, func(path string) error {
		info, err := os.Stat(path)
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}

func eachFile(dir string, do func(path string) error) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		return do(path)
	})
}

// median takes each figure for itself.
func median(costs []cost) cost {
	return cost{
		wall: middle(costs, func(c cost) time.Duration { return c.wall }),
		cpu:  middle(costs, func(c cost) time.Duration { return c.cpu }),
		rss:  middle(costs, func(c cost) int64 { return c.rss }),
	}
}

func middle[T int64 | time.Duration](costs []cost, of func(cost) T) T {
	values := make([]T, len(costs))
	for i, c := range costs {
		values[i] = of(c)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
