package archive

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What counts as changed, for a proof that nothing moved while a folder was read and for what is taken over from an earlier archive unread:
//
//   - Of each file first its stat is taken; then a write in flight is waited for and dirty pages are written back (settle); then it is read.
//     A write sets the ctime when it begins, and a store through a mapping when it is the first to a page that is not dirty. So whatever
//     changes a file after its stat, other than what was under way and has been waited for, gives it a later ctime than the stat has.
//   - Later, but for the grain of the kernel's clock and direct writes in flight, which nothing waits for: so a ctime that was younger than
//     unsettled when it was looked at, or lies after that, tells nothing, and what has it counts as changed.
//   - A ctime can be believed only on file systems that are known to keep these rules, and while the same mount of it is there, in the same
//     boot: data that were never written to disk are lost with the power, but not always the ctime. And only while nobody sets the clock.
//
// The rule is about one file at a time, and asks of an earlier archive only that what it says of a file was read in that order. Whether the files
// around it held still does not matter: what moved meanwhile has another ctime now.

// unsettled is how long before a look a change counts as one that may still be going on.
const unsettled = 30 * time.Second

// ruleKeepers are the file systems that are known to keep the rules. tmpfs does not: stores through a mapping move no times there.
var ruleKeepers = []int64{unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC}

// settle waits for buffered writes to a file that are under way, which a seek for a hole does, and has its dirty pages written back.
func settle(fd int) error {
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	if _, err := unix.Seek(fd, 0, unix.SEEK_HOLE); err != nil && err != unix.ENXIO { // an empty file has none
		return err
	}
	return retry(func() error { return unix.SyncFileRange(fd, 0, 0, all) })
}

// moment is when and where a folder was looked at.
type moment struct {
	_          struct{} `cbor:",toarray"`
	Boot       []byte   // the kernel's id of this boot
	Mount      uint64   // id of the mount that the folder is on
	FileSystem uint64   // its type, as statfs(2) has it
	Seconds    int64    // the time by the host's clock, before the first file was looked at
	Nanos      uint32
	Uptime     int64 // the same in nanoseconds since boot: by a clock that nobody sets
}

const bootIDSize = 16

// thisMoment looks at where a folder is.
func thisMoment(dir string, clock func() time.Time) (*moment, error) {
	var fs unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(dir, &fs) }); err != nil {
		return nil, fmt.Errorf("look at the file system: %w", err)
	}
	mount, err := mountOf(dir)
	if err != nil {
		return nil, fmt.Errorf("look at the mount: %w", err)
	}
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	var up unix.Timespec
	now := clock()
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return nil, fmt.Errorf("ask how long the host is up: %w", err)
	}
	return &moment{
		Boot: boot, Mount: mount, FileSystem: uint64(fs.Type), Seconds: now.Unix(), Nanos: uint32(now.Nanosecond()), Uptime: up.Nano(),
	}, nil
}

// mountOf gives the id of a mount: since Linux 6.8 one that no other mount of this boot ever has. 0 is for a kernel that does not tell.
func mountOf(dir string) (uint64, error) {
	var st unix.Statx_t
	for _, want := range []int{unix.STATX_MNT_ID_UNIQUE, unix.STATX_MNT_ID} {
		err := retry(func() error { return unix.Statx(unix.AT_FDCWD, dir, 0, want, &st) })
		if err != nil {
			return 0, err
		}
		if st.Mask&uint32(want) != 0 {
			return st.Mnt_id, nil
		}
	}
	return 0, nil // before Linux 5.8
}

func bootID() ([]byte, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("ask for the id of this boot: %w", err)
	}
	var id []byte
	if _, err := fmt.Sscanf(strings.ReplaceAll(string(text), "-", ""), "%x", &id); err != nil || len(id) != bootIDSize {
		return nil, fmt.Errorf("ask for the id of this boot: %q is none", text)
	}
	return id, nil
}

// check tells whether a moment can be one.
func (m *moment) check() error {
	if len(m.Boot) != bootIDSize || m.Nanos >= 1e9 {
		return errors.New("it was made at no moment")
	}
	return nil
}

// provable tells whether the times of files say anything there.
func (m *moment) provable() bool { return slices.Contains(ruleKeepers, int64(m.FileSystem)) }

func (m *moment) time() time.Time { return time.Unix(m.Seconds, int64(m.Nanos)) }

// untrusted tells why what had not changed up to a moment cannot be told now by the times of files, or "" when it can.
func (m *moment) untrusted(now *moment) string {
	switch {
	case now != nil && !now.provable():
		return "on this kind of file system the times of files prove nothing"
	case m == nil || now == nil:
		return "it is not known when it was looked at"
	case string(m.Boot) != string(now.Boot):
		return "the host was started anew"
	case m.Mount != now.Mount || m.FileSystem != now.FileSystem:
		return "the file system was mounted anew"
	case jumped(m, now):
		return "the clock was set"
	}
	return ""
}

// stale is untrusted for what was looked at by an earlier run: what was mounted in between is not known before Linux 5.8.
func (m *moment) stale(now *moment) string {
	if m != nil && m.Mount == 0 {
		return "this kernel does not tell what is mounted"
	}
	return m.untrusted(now)
}

// jumped tells whether the clock was set between two moments of a boot. What corrects a clock slowly moves both clocks.
func jumped(from, to *moment) bool {
	const most = time.Second // a leap second, and no more
	return (to.time().Sub(from.time()) - time.Duration(to.Uptime-from.Uptime)).Abs() > most
}

// settledBefore tells whether a ctime is one that could be believed when it was looked at, at some moment or later.
func (m *moment) settledBefore(changed stamp, span time.Duration) bool {
	return changed.time().Before(m.time().Add(-span))
}

// unchanged tells whether an entry, as it was found at some moment, is what a stat has found now.
func (e *Indexed) unchanged(at *moment, span time.Duration, kind Kind, st *unix.Statx_t) bool {
	now := newMember("", kind, st, nil)
	return e.Kind == kind && !e.Resized && e.Size == now.Size && e.Mode == now.Mode && e.UID == now.UID && e.GID == now.GID &&
		e.ModTime.Equal(now.ModTime) && e.ChangeTime.Equal(now.seen.changed.time()) && e.born() == now.seen.born &&
		e.Device == now.seen.device.number() && e.Inode == now.seen.inode && e.Rdev == device{now.major, now.minor}.number() &&
		at.settledBefore(now.seen.changed, span)
}

// born is the entry's birth time as a stat has it.
func (e *Indexed) born() stamp {
	if e.BirthTime.IsZero() {
		return stamp{}
	}
	return stamp{e.BirthTime.Unix(), uint32(e.BirthTime.Nanosecond())}
}
