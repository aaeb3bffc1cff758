package archive

import (
	"flag"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/testenv"
)

var (
	generations = flag.Int("generations", 12, "how many archives TestGenerations makes on each file system")
	goingOn     = flag.Duration("unsettled", 30*time.Millisecond, "how long a change counts as going on in TestGenerations; 30s is the real span")
	seeded      = flag.Uint64("seed", 0, "seed of the changes in between; 0 is for one of this moment")
)

// TestGenerations changes a folder at random and archives it, over and over, on top of any earlier archive or of none, some of them made while
// it was changing; each that was made while nothing moved must hold what was there. The span in which a change counts as going on is short, unless
// the real one is asked for: there are no long writes.
func TestGenerations(t *testing.T) {
	seed := *seeded
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	onEach(t, func(t *testing.T, dir string) { generate(t, dir, seed, true) })
	t.Run("tmpfs", func(t *testing.T) {
		testenv.Root(t)
		dir := t.TempDir()
		must(t, unix.Mount("none", dir, "tmpfs", 0, "size=256m"))
		defer func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) }()
		generate(t, dir, seed, false)
	})
}

// quick are options under which whatever was changed a moment ago can be relied upon soon.
func quick() Options { return Options{Level: Fastest, Clock: time.Now, unsettled: *goingOn} }

// busy is how many changes there are at most at a time. With the real span they must be few, or no file is left alone for so long.
func busy() int {
	if *goingOn < time.Second {
		return 6
	}
	return 1
}

func generate(t *testing.T, dir string, seed uint64, reusing bool) {
	t.Logf("changes go by -seed=%d", seed)
	m := newMutator(t, dir, seed)
	beside := filepath.Dir(dir)
	clones := reusing && CanClone(dir, beside) == nil
	l := newLineage(dir)
	var reused, unchanged int64
	for range *generations {
		o := quick()
		if clones && m.rand.IntN(2) == 0 {
			o.Clones = beside
		}
		if m.rand.IntN(10) > 0 { // else nothing changes
			for range 1 + m.rand.IntN(busy()) {
				m.step()
			}
		}
		on := 0
		if l.last > 0 && m.rand.IntN(6) > 0 {
			on = max(1, l.last-m.rand.IntN(3))
		}
		if m.rand.IntN(5) == 0 {
			l.takeChanging(t, on, o, m)
			continue
		}
		sum := l.take(t, on, o)
		l.wants(t)
		reused += sum.Reused
		if sum.Unchanged {
			unchanged++
		}
		l.forget(t)
	}
	t.Logf("%d files were taken over unread; %d archives were as the ones before", reused, unchanged)
	if reusing != (reused > 0) {
		t.Errorf("%d files were taken over unread", reused)
	}
}

// takeChanging makes the next archive while the folder changes. What is in it is anybody's guess, but not what may be made of it.
func (l *lineage) takeChanging(t testing.TB, on int, o Options, m *mutator) {
	done, changed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(changed)
		for range 4 * busy() * busy() {
			select {
			case <-done:
				return
			default:
				m.step()
			}
		}
	}()
	l.take(t, on, o)
	close(done)
	<-changed
}

// forget lets go of archives that the next ones will not be made on, unless one of those leans on them.
func (l *lineage) forget(t testing.TB) {
	needed := map[string]bool{}
	for n := max(1, l.last-3); n <= l.last; n++ {
		needed[l.name(n)] = true
		r := reader(t, l.all[l.name(n)])
		for _, lean := range r.Contents().Leans {
			needed[lean.Name] = true
		}
	}
	for name := range l.all {
		if !needed[name] {
			delete(l.all, name)
		}
	}
}
