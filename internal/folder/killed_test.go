package folder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/testenv"
)

// The test program is also what gets killed: it does one thing to the folder that it is told of, and ends.
const (
	doWhat  = "FOLDER_TEST_DO"
	doWhere = "FOLDER_TEST_AT"
)

func TestMain(m *testing.M) {
	what := os.Getenv(doWhat)
	if what == "" {
		os.Exit(m.Run())
	}
	runtime.LockOSThread() // strace counts the calls of each thread by itself
	if err := child(what, os.Getenv(doWhere)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(what, where string) error {
	f := At(where, strings.Contains(what, "beside"))
	ctx := context.Background()
	var s *Stage
	var err error
	switch {
	case strings.Contains(what, "fill"):
		_, err := f.Fill(ctx, trees{part: strings.Contains(what, "part"), files: incoming})
		return err
	case strings.Contains(what, "settle"):
		_, err := f.Settle(ctx)
		return err
	case strings.Contains(what, "undo"):
		s, err = f.Replaced(ctx, false)
	default:
		s, _, err = f.Stage(ctx, trees{part: strings.Contains(what, "part"), files: incoming})
	}
	if err != nil {
		return err
	}
	return errors.Join(s.Exchange(ctx), s.Close(ctx))
}

// trees is a source of files by path. A path that ends in a slash is a folder.
type trees struct {
	words
	part  bool
	files map[string]string
}

func (s trees) Part() bool { return s.part }

func (s trees) Extract(_ context.Context, dir string) (archive.Report, error) {
	return archive.Report{Entries: int64(len(s.files))}, errors.Join(plant(dir, s.files), os.Chmod(dir, 0o2750), setTimes(dir, 3000))
}

func setTimes(dir string, sec int64) error {
	return unix.Lutimes(dir, []unix.Timeval{{Sec: 1000}, {Sec: sec}})
}

func plant(dir string, files map[string]string) error {
	for name, data := range files {
		path := filepath.Join(dir, name)
		var err error
		switch {
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		case strings.HasPrefix(data, "-> "):
			err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(data[3:], path))
		default:
			err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(data), 0o640))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var (
	present = map[string]string{
		"file": "old", "same/a": "1", "same/deep/b": "old", "gone/c": "x", "becomes/folder": "was a folder", "link": "-> same", "line\nfeed": "odd", "\xff": "no text",
	}
	incoming = map[string]string{
		"file": "new", "same/deep/b": "new", "same/deep/only": "new", "fresh/d": "y", "becomes": "a file", "link": "-> fresh", "empty/": "", "\xff": "still none",
	}
)

// look gives all that there is to see of a folder, and of what is in it that belongs to it.
func look(t *testing.T, dir string, beside bool) map[string]string {
	t.Helper()
	seen := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if kindOf(name) != "" {
			return fs.SkipDir
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		words := info.Mode().String()
		if name == "." {
			words += fmt.Sprint(" of ", info.Sys().(*syscall.Stat_t).Uid)
			if beside { // a stage inside that gets another name changes the folder, and may not come to put that right
				words += " of " + info.ModTime().String()
			}
		}
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			words += " " + string(data)
		}
		seen[name] = words
		return nil
	}))
	return seen
}

// scene is a volume, and what it may look like after an exchange with what comes in.
type scene struct {
	f            Folder
	what         string
	before, done map[string]string
}

func (s *scene) look(t *testing.T) map[string]string { return look(t, s.f.path, s.f.beside) }

func newScene(t *testing.T, what string) *scene {
	t.Helper()
	s := &scene{f: At(filepath.Join(t.TempDir(), "_data"), strings.Contains(what, "beside")), what: what}
	must(t, errors.Join(os.Mkdir(s.f.path, 0o700), plant(s.f.path, present), os.Chown(s.f.path, 33, 33), setTimes(s.f.path, 2000)))
	if strings.Contains(what, "undo") {
		undone := s.look(t)
		must(t, child(strings.ReplaceAll(what, "undo", "restore"), s.f.path))
		must(t, os.WriteFile(filepath.Join(s.f.path, "file"), []byte("changed since"), 0o600))
		s.before = s.look(t)
		s.done = undone
	} else {
		s.before = s.look(t)
	}
	return s
}

// process does it in a process to which things happen when it makes system calls, as strace(1) writes them.
func (s *scene) process(what string, happens ...string) *exec.Cmd {
	args := []string{"-f", "-qq", "-o", "/dev/null", "-e", "trace=" + strings.Join(changing, ",")}
	for _, one := range happens {
		args = append(args, "-e", "inject="+one)
	}
	cmd := exec.Command("strace", append(args, os.Args[0])...)
	cmd.Env = append(os.Environ(), doWhat+"="+what, doWhere+"="+s.f.path)
	return cmd
}

// killedAt has the process killed just before a system call is made for the n-th time. It tells whether it got so far.
func (s *scene) killedAt(t *testing.T, what, call string, n int, happens ...string) (killed bool) {
	t.Helper()
	out, err := s.process(what, append(happens, fmt.Sprintf("%s:signal=SIGKILL:when=%d", call, n))...).CombinedOutput()
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil || ended && len(happens) > 0 && exit.ExitCode() == 1:
		return false
	case !ended || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL:
		t.Fatalf("killed at %s %d: %v: %s", call, n, err, out)
	}
	return true
}

// changing are the system calls by which an exchange changes anything.
var changing = []string{"renameat", "renameat2", "fsync", "syncfs", "fchown", "fchmod", "utimensat", "unlinkat", "mkdirat", "symlinkat"}

// What may happen besides.
var (
	cannotSwap = "renameat2:error=EINVAL"       // the file system knows no flags
	refuses    = "renameat2:error=EPERM:when=5" // one of the files is not to be moved
)

// Whenever it is killed, the volume is wholly old or wholly new after Settle, and what is not in the volume can be had back.
func TestAnExchangeKilledAtEachOfItsCalls(t *testing.T) {
	testenv.Root(t)
	testenv.Tool(t, "strace")
	for name, c := range map[string]struct {
		how       string
		happens   []string
		leastOlds int
		leastNews int
	}{
		"restore beside":                {how: "restore beside", leastOlds: 1, leastNews: 10},
		"restore inside":                {how: "restore inside", leastOlds: 1, leastNews: 10},
		"restore part beside":           {how: "restore part beside", leastOlds: 1, leastNews: 10},
		"restore part inside":           {how: "restore part inside", leastOlds: 1, leastNews: 10},
		"undo beside":                   {how: "undo beside", leastOlds: 1, leastNews: 10},
		"undo inside":                   {how: "undo inside", leastOlds: 1, leastNews: 10},
		"undo part beside":              {how: "undo part beside", leastOlds: 1, leastNews: 10},
		"restore beside, plain renames": {how: "restore beside", happens: []string{cannotSwap}, leastOlds: 1, leastNews: 10},
		"restore beside, turned back":   {how: "restore beside", happens: []string{refuses}, leastOlds: 10},
		"undo inside, turned back":      {how: "undo inside", happens: []string{refuses}, leastOlds: 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := newScene(t, c.how)
			must(t, child(c.how, whole.f.path))
			done := whole.look(t)
			olds, news := 0, 0
			for _, call := range changing {
				if len(c.happens) > 0 && call == "renameat2" {
					continue // one thing happens at a call
				}
				for n := 1; ; n++ {
					s := newScene(t, c.how)
					if !s.killedAt(t, c.how, call, n, c.happens...) {
						break
					}
					_, err := s.f.Settle(t.Context())
					must(t, err)
					switch now := s.look(t); {
					case cmp.Equal(now, s.before):
						olds++
					case alike(now, done):
						news++
						s.wantWayBack(t)
					default:
						t.Errorf("killed at %s %d: neither old nor new (-new +is):\n%s", call, n, cmp.Diff(done, now))
					}
				}
			}
			t.Logf("%d old, %d new", olds, news)
			if olds < c.leastOlds || news < c.leastNews {
				t.Error("that is no test")
			}
		})
	}
}

// An empty folder that is filled holds nothing or all of it, and the next one to fill it goes by that.
func TestAFillKilledAtEachOfItsCalls(t *testing.T) {
	testenv.Root(t)
	testenv.Tool(t, "strace")
	for _, how := range []string{"fill beside", "fill inside", "fill part inside"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			vacant := func() *scene {
				s := &scene{f: At(filepath.Join(t.TempDir(), "_data"), strings.Contains(how, "beside")), what: how}
				must(t, errors.Join(os.Mkdir(s.f.path, 0o700), setTimes(s.f.path, 2000)))
				s.before = s.look(t)
				return s
			}
			whole := vacant()
			must(t, child(how, whole.f.path))
			wantStages(t, whole.f)
			done := whole.look(t)
			empties, fulls := 0, 0
			for _, call := range changing {
				for n := 1; ; n++ {
					s := vacant()
					if !s.killedAt(t, how, call, n) {
						break
					}
					empty, err := s.f.Empty(t.Context())
					if errors.Is(err, ErrUnsettled) {
						_, err = s.f.Settle(t.Context())
						must(t, err)
						empty, err = s.f.Empty(t.Context())
					}
					must(t, err)
					if empty {
						empties++
						must(t, child(how, s.f.path))
					} else {
						fulls++
					}
					if now := s.look(t); !alike(now, done) {
						t.Errorf("killed at %s %d: empty %v, and then (-want +is):\n%s", call, n, empty, cmp.Diff(done, now))
					}
				}
			}
			t.Logf("%d empty, %d full", empties, fulls)
			if empties < 10 || fulls < 10 {
				t.Error("that is no test")
			}
		})
	}
}

func TestAnExchangeThatCannotBeCompletedIsTakenBack(t *testing.T) {
	testenv.Root(t)
	testenv.Tool(t, "strace")
	for n := 1; ; n++ {
		s := newScene(t, "restore beside")
		out, err := s.process(s.what, fmt.Sprintf("renameat2:error=EPERM:when=%d", n)).CombinedOutput()
		if err == nil {
			if n < 5 {
				t.Error("that is no test")
			}
			return
		}
		if now := s.look(t); !cmp.Equal(now, s.before) || !strings.Contains(string(out), "operation not permitted") {
			t.Errorf("the %d. move: %s (-was +is):\n%s", n, out, cmp.Diff(s.before, now))
		}
		wantStages(t, s.f)
	}
}

// Who was thought dead, and was only slow, moves nothing any more in what others have put in order and use.
func TestWhoWakesUpInTheMiddleOfAnExchange(t *testing.T) {
	testenv.Root(t)
	testenv.Tool(t, "strace")
	for n := 1; n <= 4; n++ {
		t.Run(fmt.Sprintf("at move %d", n), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, "restore beside")
			was := top(t, s.f.path)
			cmd := s.process(s.what, fmt.Sprintf("renameat2:delay_enter=5s:when=%d", n))
			var said strings.Builder
			cmd.Stderr = &said
			must(t, cmd.Start())
			for moved := -1; moved < n-1; {
				if left, err := s.f.stages(exchanged); err == nil && len(left) > 0 {
					moved = differ(was, top(t, s.f.path))
				}
			}
			settled, err := s.f.Settle(t.Context())
			must(t, err)
			must(t, os.WriteFile(filepath.Join(s.f.path, "file"), []byte("used"), 0o640))
			used := s.look(t)
			if err := cmd.Wait(); err == nil || !settled || !strings.Contains(said.String(), "took over") {
				t.Errorf("settled %v, %v: %s", settled, err, said.String())
			}
			if now := s.look(t); !cmp.Equal(now, used) {
				t.Errorf("(-was +is):\n%s", cmp.Diff(used, now))
			}
		})
	}
}

// top gives which file each name in a folder is.
func top(t *testing.T, dir string) map[string]uint64 {
	t.Helper()
	found, err := os.ReadDir(dir)
	must(t, err)
	files := map[string]uint64{}
	for _, f := range found {
		if info, err := f.Info(); err == nil {
			files[f.Name()] = info.Sys().(*syscall.Stat_t).Ino
		}
	}
	return files
}

// differ counts the names that are not the same files in both.
func differ(a, b map[string]uint64) (n int) {
	for name := range a {
		if a[name] != b[name] {
			n++
		}
	}
	for name := range b {
		if _, both := a[name]; !both {
			n++
		}
	}
	return n
}

// What lies in the volume's own folder may be of anybody's making.
func TestAPlanThatNoExchangeHasWritten(t *testing.T) {
	const head = `{"format":"backupd exchange 1","then":"` + string(replaced) + `","else":"` + string(arriving) + `"`
	for name, written := range map[string]string{
		"none":                   "",
		"no format":              "{}\n{\"entries\":0}\n",
		"another kind":           `{"format":"backupd exchange 1","then":"../x-","else":"` + string(arriving) + `"}` + "\n{\"entries\":0}\n",
		"breaks off":             head + "}\n",
		"miscounts":              head + "}\n{\"entries\":3}\n",
		"leads out":              head + `,"part":true}` + "\n" + `{"path":"Li4vb3V0","here":{"n":1}}` + "\n{\"entries\":1}\n", // ../out
		"leads into a stage":     head + "}\n" + `{"path":"LmJhY2t1cGQtcmVwbGFjZWQteA==","here":{"n":1}}` + "\n{\"entries\":1}\n",
		"is deep and no part":    head + "}\n" + `{"path":"YS9i","here":{"n":1}}` + "\n{\"entries\":1}\n", // a/b
		"has no attributes":      head + "}\n{\"entries\":0}\n",
		"is a line without ends": head + strings.Repeat(" ", 2*maxLine),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, "inside")
			stage := filepath.Join(s.f.path, string(exchanged)+"1")
			outside := t.TempDir()
			must(t, errors.Join(os.Mkdir(stage, 0o700), os.Mkdir(filepath.Join(stage, asideName), 0o700),
				os.Symlink(outside, filepath.Join(stage, contentName)), os.WriteFile(filepath.Join(stage, planName), []byte(written), 0o600)))
			if _, err := s.f.Settle(t.Context()); !errors.Is(err, ErrUnsettled) {
				t.Errorf("error %v", err)
			}
			if now := s.look(t); !cmp.Equal(now, s.before) {
				t.Errorf("(-was +is):\n%s", cmp.Diff(s.before, now))
			}
			if left, err := os.ReadDir(outside); len(left) > 0 || err != nil {
				t.Errorf("outside is %v, %v", left, err)
			}
		})
	}
}

// alike leaves out of the comparison when the folder itself was changed, of which a part of a snapshot says nothing.
func alike(a, b map[string]string) bool {
	a, b = maps.Clone(a), maps.Clone(b)
	delete(a, ".")
	delete(b, ".")
	return cmp.Equal(a, b)
}

// wantWayBack exchanges once more.
func (s *scene) wantWayBack(t *testing.T) {
	t.Helper()
	back, err := s.f.Replaced(t.Context(), strings.Contains(s.what, "undo"))
	must(t, err)
	must(t, back.Exchange(t.Context()))
	if now := s.look(t); !alike(now, s.before) {
		t.Errorf("not what it was (-was +is):\n%s", cmp.Diff(s.before, now))
	}
}

// Settling can be killed as well, over and over.
func TestSettlingKilledAtEachOfItsCalls(t *testing.T) {
	testenv.Root(t)
	testenv.Tool(t, "strace")
	for _, place := range []string{"beside", "inside"} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			how := "restore " + place
			whole := newScene(t, how)
			must(t, child(how, whole.f.path))
			done := whole.look(t)
			kills := 0
			for _, call := range changing {
				for n := 1; ; n++ {
					s := newScene(t, how)
					if !s.killedAt(t, how, "renameat2", 3) {
						t.Fatal("it was not killed in the middle")
					}
					if !s.killedAt(t, "settle "+place, call, n) {
						break
					}
					kills++
					_, err := s.f.Settle(t.Context())
					must(t, err)
					if now := s.look(t); !cmp.Equal(now, done) {
						t.Errorf("killed at %s %d: not new (-new +is):\n%s", call, n, cmp.Diff(done, now))
					}
				}
			}
			if kills < 10 {
				t.Errorf("killed %d times: that is no test", kills)
			}
		})
	}
}

// Somebody who can write to the volume must not have us write to what he cannot.
func TestALinkInAStageIsNotWrittenThrough(t *testing.T) {
	for _, name := range []string{backName, planName, planName + ".new"} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, "inside")
			left := staged(t, s.f, "new")
			must(t, left.plan())
			must(t, left.become(exchanged))
			must(t, os.Remove(filepath.Join(s.f.path, "file"))) // so that it cannot be completed, nor taken back
			precious := filepath.Join(t.TempDir(), "precious")
			must(t, os.WriteFile(precious, []byte("mine"), 0o600))
			link := filepath.Join(left.Where(), name)
			_ = os.Remove(link)
			must(t, os.Symlink(precious, link))
			if _, err := s.f.Settle(t.Context()); !errors.Is(err, ErrUnsettled) {
				t.Errorf("error %v", err)
			}
			if got, err := os.ReadFile(precious); string(got) != "mine" || err != nil {
				t.Errorf("it holds %q, %v", got, err)
			}
		})
	}
}

// What is kept is not exchanged with some of both.
func TestNothingIsUndoneWhileAnExchangeIsUnsettled(t *testing.T) {
	forBoth(t, func(t *testing.T, f Folder) {
		must(t, staged(t, f, "new").Exchange(t.Context()))
		dead := staged(t, f, "newer")
		must(t, dead.plan())
		must(t, dead.become(exchanged))
		if _, err := f.Replaced(t.Context(), false); !errors.Is(err, ErrUnsettled) {
			t.Errorf("error %v", err)
		}
		_, err := f.Settle(t.Context())
		must(t, err)
		_, err = f.Replaced(t.Context(), false)
		must(t, err)
	})
}
