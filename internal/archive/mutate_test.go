package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mutator changes a tree in all the ways that programs do, and some that only people with bad intentions do. What it cannot do just then it
// leaves: a name may be gone.
type mutator struct {
	t    testing.TB
	dir  string
	rand *rand.Rand
	maps [][]byte // of files that may be gone by now
}

func newMutator(t testing.TB, dir string, seed uint64) *mutator {
	m := &mutator{t: t, dir: dir, rand: rand.New(rand.NewPCG(seed, 1))}
	t.Cleanup(func() {
		for _, p := range m.maps {
			must(t, unix.Munmap(p))
		}
	})
	for range 30 {
		m.create(m.fresh())
	}
	return m
}

// step makes one change.
func (m *mutator) step() {
	all := []func(string){
		m.write, m.write, m.append, m.truncate, m.renameOver, m.swap, m.link, m.remove, m.chmod, m.chown, m.xattr, m.punch, m.timeBack,
		m.rewrite, m.rewrite, m.mapped, m.mapped, m.direct, m.reuseInode, m.folder, m.symlink, m.preallocate,
	}
	if m.rand.IntN(5) == 0 {
		m.create(m.fresh())
		return
	}
	if len(m.maps) > 0 && m.rand.IntN(3) == 0 {
		m.store(m.maps[m.rand.IntN(len(m.maps))]) // to a page that may be dirty since long
		return
	}
	if name := m.any(); name != "" {
		all[m.rand.IntN(len(all))](name)
	}
}

// fresh is a name, which may be taken.
func (m *mutator) fresh() string {
	dir := [...]string{"", "a", "a/b", "a-b", "c"}[m.rand.IntN(5)]
	name := filepath.Join(m.dir, dir, fmt.Sprintf("f%d", m.rand.IntN(60)))
	m.may(os.MkdirAll(filepath.Dir(name), 0o755))
	return name
}

// any is a regular file, or "".
func (m *mutator) any() string {
	var all []string
	m.may(filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all = append(all, path)
		}
		return nil
	}))
	if len(all) == 0 {
		return ""
	}
	return all[m.rand.IntN(len(all))]
}

// may lets pass what comes of names that are not there, or something else.
func (m *mutator) may(err error) {
	for _, fine := range []error{unix.ENOENT, unix.EEXIST, unix.ENOTDIR, unix.EISDIR, unix.ENOTEMPTY, unix.EINVAL, unix.EMLINK} {
		if errors.Is(err, fine) {
			return
		}
	}
	if err != nil {
		m.t.Error(err)
	}
}

// data is some bytes: few as a rule, and a few that repeat.
func (m *mutator) data() []byte {
	size := m.rand.IntN(20_000)
	if m.rand.IntN(12) == 0 {
		size = m.rand.IntN(5 * frameSize / 2)
	}
	p := make([]byte, size)
	for i := 0; i < len(p); i += 7 {
		p[i] = byte(m.rand.Uint32())
	}
	return p
}

func (m *mutator) create(name string) { m.may(os.WriteFile(name, m.data(), 0o644)) }

// open lets a function change a file.
func (m *mutator) open(name string, flags int, do func(f *os.File, size int64) error) {
	f, err := os.OpenFile(name, os.O_RDWR|flags, 0o644)
	if err != nil {
		m.may(err)
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err == nil {
		err = do(f, st.Size())
	}
	m.may(err)
}

func (m *mutator) within(size int64) int64 { return m.rand.Int64N(size + 1) }

func (m *mutator) write(name string) {
	m.open(name, 0, func(f *os.File, size int64) error {
		_, err := f.WriteAt(m.data(), m.within(size))
		return err
	})
}

func (m *mutator) append(name string) {
	m.open(name, os.O_APPEND, func(f *os.File, size int64) error {
		if size > 3*frameSize {
			return f.Truncate(0)
		}
		_, err := f.Write(m.data())
		return err
	})
}

func (m *mutator) truncate(name string) { m.may(os.Truncate(name, m.rand.Int64N(200_000))) }

func (m *mutator) renameOver(name string) { m.may(os.Rename(name, m.fresh())) }

func (m *mutator) swap(name string) {
	if other := m.any(); other != "" {
		m.may(unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE))
	}
}

func (m *mutator) link(name string) { m.may(os.Link(name, m.fresh())) }

func (m *mutator) remove(name string) { m.may(os.Remove(name)) }

func (m *mutator) chmod(name string) { m.may(os.Chmod(name, os.FileMode(0o600+m.rand.IntN(0o100)))) }

func (m *mutator) chown(name string) { m.may(os.Chown(name, m.rand.IntN(3), m.rand.IntN(3))) }

func (m *mutator) xattr(name string) {
	m.may(unix.Setxattr(name, "user.test", fmt.Append(nil, m.rand.Uint32()), 0))
}

func (m *mutator) punch(name string) {
	m.open(name, 0, func(f *os.File, size int64) error {
		const hole = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
		return unix.Fallocate(int(f.Fd()), hole, m.within(size), 1+m.within(64<<10))
	})
}

func (m *mutator) preallocate(name string) {
	m.open(name, 0, func(f *os.File, size int64) error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, 1+size+m.within(64<<10))
	})
}

func (m *mutator) timeBack(name string) {
	at := unix.Timespec{Sec: m.rand.Int64N(1_700_000_000)}
	m.may(unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{at, at}, 0))
}

// rewrite puts as many other bytes in a file's place, and gives it the time that it had.
func (m *mutator) rewrite(name string) {
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		m.may(err)
		return
	}
	m.open(name, 0, func(f *os.File, size int64) error {
		at := m.within(size)
		p := m.data()
		_, err := f.WriteAt(p[:min(int64(len(p)), size-at)], at)
		return err
	})
	m.may(unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{st.Atim, st.Mtim}, 0))
}

// mapped maps a file for good, and stores to it.
func (m *mutator) mapped(name string) {
	m.open(name, 0, func(f *os.File, _ int64) error {
		const size = 3 * 4096
		if len(m.maps) >= 20 {
			first := m.maps[0]
			m.maps = m.maps[1:]
			return unix.Munmap(first)
		}
		own := filepath.Join(m.dir, fmt.Sprintf("mapped-%d", m.rand.IntN(100_000)))
		if err := os.WriteFile(own, make([]byte, size), 0o644); err != nil {
			return err
		}
		g, err := os.OpenFile(own, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer g.Close()
		p, err := unix.Mmap(int(g.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return err
		}
		m.maps = append(m.maps, p)
		m.store(p)
		return os.Rename(own, filepath.Join(m.dir, fmt.Sprintf("map-%d", m.rand.IntN(20))))
	})
}

// store stores to a mapping. That is a fault where the file has been cut, or no longer has a place on a disk that is full.
func (m *mutator) store(p []byte) {
	at := m.rand.IntN(len(p))
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { _ = recover() }()
	p[at]++
}

// direct writes past the page cache.
func (m *mutator) direct(name string) {
	m.open(name, unix.O_DIRECT, func(f *os.File, size int64) error {
		const block = 4096
		buf := make([]byte, 2*block)
		p := buf[-uintptr(unsafe.Pointer(&buf[0]))&(block-1):][:block]
		for i := range p {
			p[i] = byte(m.rand.Uint32())
		}
		_, err := f.WriteAt(p, m.within(size)&^(block-1))
		return err
	})
}

// reuseInode puts a new file in the place of one, with the same size and time, which as a rule has its inode, too.
func (m *mutator) reuseInode(name string) {
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		m.may(err)
		return
	}
	p := m.data()
	m.may(os.Remove(name))
	m.may(os.WriteFile(name, append(p, make([]byte, max(0, st.Size-int64(len(p))))...)[:st.Size], 0o644))
	m.may(unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{st.Atim, st.Mtim}, 0))
}

// folder moves a whole folder.
func (m *mutator) folder(string) {
	names := [...]string{"a", "a/b", "a-b", "c", "a/c", "d"}
	m.may(os.Rename(filepath.Join(m.dir, names[m.rand.IntN(len(names))]), filepath.Join(m.dir, names[m.rand.IntN(len(names))])))
}

func (m *mutator) symlink(string) {
	name := filepath.Join(m.dir, fmt.Sprintf("link-%d", m.rand.IntN(4)))
	if m.rand.IntN(2) == 0 {
		m.may(os.Remove(name))
	}
	m.may(os.Symlink(fmt.Sprint("to ", m.rand.IntN(9)), name))
}
