package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrMalformed marks a file that cannot be what its name says.
var ErrMalformed = errors.New("malformed")

// Log is a file of lines that grows at its end, of which a process that finds it knows whether its writer still lives: the writer has
// it locked, and the kernel unlocks it when the writer dies.
//
// A line of which nothing but the beginning was written is no line.
type Log struct {
	file *os.File
	size int64 // up to the last line's end
}

// unborn is the end of the name of a log that is being made.
const unborn = ".new"

// CreateLog makes a log, locked by this process from the moment that it can be seen under its name.
func CreateLog(path string) (_ *Log, err error) {
	file, err := os.OpenFile(path+unborn, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("create log %s: %w", path, err), os.Remove(file.Name()), file.Close())
		}
	}()
	if err := flock(file, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return nil, err
	}
	return &Log{file: file}, SyncDir(filepath.Dir(path))
}

// TakeLog takes over a log whose writer has died, to be read and removed, and gives its lines; one that is in use fails with ErrLocked. A file that is longer than
// most bytes, or is not a plain file of this process's own user, is ErrMalformed.
func TakeLog(path string, most int64) (_ *Log, lines [][]byte, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.ENXIO) {
		return nil, nil, fmt.Errorf("take log %s: %w: it is no plain file", path, ErrMalformed)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("take log: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("take log %s: %w", path, err), file.Close())
		}
	}()
	if err := flock(file, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, nil, err
	}
	if err := same(file, path); err != nil {
		return nil, nil, err
	}
	text, err := readMost(file, most)
	if err != nil {
		return nil, nil, err
	}
	whole := bytes.LastIndexByte(text, '\n') + 1
	for line := range bytes.Lines(text[:whole]) {
		lines = append(lines, bytes.TrimSuffix(line, []byte("\n")))
	}
	return &Log{file: file}, lines, nil
}

// same makes sure that a file is a plain one of our own and still has its name: its writer may have removed it just before it was locked.
func same(file *os.File, path string) error {
	opened, err := file.Stat()
	if err != nil {
		return err
	}
	named, err := os.Lstat(path)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return err
	}
	switch {
	case !os.SameFile(opened, named):
		return fmt.Errorf("it was replaced meanwhile: %w", fs.ErrNotExist)
	case !opened.Mode().IsRegular() || int(st.Uid) != os.Geteuid() || opened.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%w: it is not a plain file that only user %d can write to", ErrMalformed, os.Geteuid())
	}
	return nil
}

func readMost(file *os.File, most int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%w: it has more than %d bytes", ErrMalformed, most)
	}
	return text, err
}

// Append adds a line. When it returns nil the line survives the death of the process, and with sync also a power cut; else it is as if
// there had been no call.
func (l *Log) Append(line []byte, sync bool) error {
	_, err := l.file.WriteAt(append(line[:len(line):len(line)], '\n'), l.size)
	if err == nil && sync {
		err = l.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", l.file.Name(), errors.Join(err, l.file.Truncate(l.size)))
	}
	l.size += int64(len(line)) + 1
	return nil
}

// Close leaves the log to whoever takes it next.
func (l *Log) Close() error { return (&Lock{l.file}).Unlock() }

// RemoveLog removes a log that this process has, and closes it.
func RemoveLog(path string, l *Log) error {
	err := os.Remove(path)
	if err != nil {
		err = fmt.Errorf("remove log: %w", err)
	}
	return errors.Join(err, SyncDir(filepath.Dir(path)), l.Close())
}

// Logs gives the paths of all logs in a folder whose names end so, in order. Where there is no folder there are none.
func Logs(dir, end string) (paths []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for logs: %w", err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), end) {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}

// SweepLogs removes what makers of logs left behind who died in the middle of it, all of an age that no living one needs.
func SweepLogs(dir string, now time.Time) error {
	const age = time.Hour
	left, err := filepath.Glob(filepath.Join(dir, "*"+unborn))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range left {
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && now.Sub(info.ModTime()) > age {
			errs = append(errs, os.Remove(path))
		}
	}
	return errors.Join(errs...)
}
