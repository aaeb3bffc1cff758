package archive

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// deepFolder makes folders in each other, with a file in every hundredth and beside it, and gives the descriptor of the first.
func deepFolder(t testing.TB, dir, name string, depth int) {
	t.Helper()
	fd, err := openAt(unix.AT_FDCWD, dir, openFolder, 0)
	must(t, err)
	for i := range depth {
		must(t, unix.Mkdirat(fd, name, 0o755))
		if i%100 == 0 {
			f, err := openAt(fd, "z after it", unix.O_WRONLY|unix.O_CREAT, 0o644)
			must(t, err)
			must(t, writeFullAt(f, []byte(fmt.Sprint(i)), 0))
			closeFD(f)
		}
		next, err := openAt(fd, name, openFolder, 0)
		must(t, err)
		closeFD(fd)
		fd = next
	}
	closeFD(fd)
}

// deepDir is a temporary folder that the package itself removes: paths may be too long for others.
func deepDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		fd, err := openAt(unix.AT_FDCWD, filepath.Dir(dir), openFolder, 0)
		must(t, err)
		defer closeFD(fd)
		must(t, removeAll(fd, filepath.Base(dir)))
	})
	return dir
}

// deepNames counts folders down to the last, and reads the files beside them.
func deepNames(t testing.TB, dir, name string) (depth int, files string) {
	t.Helper()
	fd, err := openAt(unix.AT_FDCWD, dir, openFolder, 0)
	must(t, err)
	for ; ; depth++ {
		if f, err := openAt(fd, "z after it", unix.O_RDONLY, 0); err == nil {
			text := make([]byte, 20)
			n, err := unix.Read(f, text)
			must(t, err)
			files += string(text[:n]) + " "
			closeFD(f)
		}
		next, err := openAt(fd, name, openFolder, 0)
		closeFD(fd)
		if err == unix.ENOENT {
			return depth, files
		}
		must(t, err)
		fd = next
	}
}

func TestPathsMayBeLongerThanTheKernelTakes(t *testing.T) {
	for name, c := range map[string]struct {
		name  string
		depth int
	}{
		"very deep":        {"d", 5000},
		"very long":        {strings.Repeat("\xffn", 127) + "n", 300},
		"as deep as opens": {"d", openSteps + 1},
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := deepDir(t), deepDir(t)
			deepFolder(t, src, c.name, c.depth)
			var open int
			data, sum := archived(t, src, Options{step: func(string, string) { open = max(open, descriptors(t)) }})
			rep, err := Extract(t.Context(), bytes.NewReader(data), dst, ExtractOptions{})
			must(t, err)
			depth, files := deepNames(t, dst, c.name)
			_, want := deepNames(t, src, c.name)
			if depth != c.depth || files != want || rep.Entries != sum.Entries {
				t.Errorf("%d folders deep with files %s, want %d with %s", depth, files, c.depth, want)
			}
			if open > 2*openSteps {
				t.Errorf("%d files were open at once", open)
			}
		})
	}
}

func descriptors(t testing.TB) int {
	all, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(all)
}

func TestAFolderThatMovesWhileItIsReadLosesOnlyWhatCannotBeReached(t *testing.T) {
	dir := deepDir(t)
	deepFolder(t, dir, "d", openSteps+20)
	write(t, dir, map[string]string{"z": "last"})
	lowest := filepath.Join(dir, strings.Repeat("d/", openSteps+10))
	data, sum := archived(t, dir, Options{step: func(what, path string) {
		if what == "open" && path == strings.TrimSuffix(strings.Repeat("d/", openSteps+12), "/") {
			must(t, os.Rename(filepath.Join(dir, "d/d/d"), filepath.Join(dir, "moved")))
			_, err := os.Stat(lowest)
			if err == nil {
				t.Error("the way down is still there")
			}
		}
	}})
	got := restored(t, data)
	if got["z"] != "last" || got["d/z after it"] != "" {
		t.Errorf("the rest of the root is %q", got["z"])
	}
	if sum.Vanished != 0 {
		t.Errorf("%d entries vanished", sum.Vanished)
	}
}

// takeAll gives all names of a folder that are to come.
func takeAll(t testing.TB, n *names) []string {
	t.Helper()
	var all []string
	for {
		d, ok, err := n.next()
		must(t, err)
		if !ok {
			return all
		}
		all = append(all, d.name)
	}
}

func TestNamesBeyondMemoryAreSortedOnDisk(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for i := range 2000 {
		name := fmt.Sprintf("%x %s", i*7919%2000, strings.Repeat("n", i%200))
		want = append(want, name)
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	slices.Sort(want)
	fd, err := openAt(unix.AT_FDCWD, dir, openFolder, 0)
	must(t, err)
	defer closeFD(fd)
	for _, most := range []int{4 << 20, direntBuffer * 3, 1} {
		l := lister{scratch: t.TempDir(), most: most}
		outer, inner := new(names), new(names)
		read := func(n *names) {
			_, err := unix.Seek(fd, 0, unix.SEEK_SET)
			must(t, err)
			must(t, l.read(fd, n))
		}
		// A folder is read while those above it are open, and read again.
		read(outer)
		read(inner)
		if got := takeAll(t, inner); !slices.Equal(got, want) {
			t.Errorf("with %d bytes of memory: %d names of %d", most, len(got), len(want))
		}
		inner.close()
		if got := takeAll(t, outer); !slices.Equal(got, want) {
			t.Errorf("with %d bytes of memory, outer: %d names of %d", most, len(got), len(want))
		}
		outer.close()
		if l.held != 0 || l.end != 0 || (l.file == nil) != (most == 4<<20) {
			t.Errorf("with %d bytes of memory: %d held, %d on disk", most, l.held, l.end)
		}
		if left, err := os.ReadDir(l.scratch); err != nil || len(left) > 0 {
			t.Errorf("%v is left behind, %v", left, err)
		}
		l.close()
	}
}

func TestLinksBeyondMemoryAreFoundOnDisk(t *testing.T) {
	for name, most := range map[string]int{"in memory": 1 << 30, "some of them": 500 << 10, "none": 0} {
		t.Run(name, func(t *testing.T) {
			table := newLinkTable(t.TempDir(), most)
			defer table.close()
			table.disk.buckets = 16
			const files = 20_000 // more than the first tables hold
			key := func(i int) inode { return inode{8, 1, uint64(i), stamp{int64(i % 3), 0}} }
			path := func(i int) string { return fmt.Sprintf("folder/%d", i) }
			names := func(i int) uint32 { return 2 + uint32(i/(files-1000)) }
			for i := range files {
				if first, err := table.seen(key(i), path(i), names(i)); first != "" || err != nil {
					t.Fatalf("%d: %q, %v", i, first, err)
				}
			}
			for i := range files {
				for range names(i) - 1 {
					if first, err := table.seen(key(i), "again", names(i)); first != path(i) || err != nil {
						t.Fatalf("%d: %q, %v", i, first, err)
					}
				}
			}
			// All names of these have been seen, so this is another file with the same number.
			if first, err := table.seen(key(7), "new", 2); first != "" || err != nil {
				t.Errorf("%q, %v", first, err)
			}
			if first, err := table.seen(key(7), "newer", 2); first != "new" || err != nil {
				t.Errorf("%q, %v", first, err)
			}
			if table.held != 0 || table.disk.live != 0 || len(table.inMem) != 0 {
				t.Errorf("%d bytes held, %d files on disk", table.held, table.disk.live)
			}
		})
	}
}
