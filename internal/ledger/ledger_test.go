package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// The test binary is also another process: with a state directory in this variable it counts runs of volume "app".
const countEnv = "LEDGER_TEST_COUNT"

const counts = 20

func TestMain(m *testing.M) {
	if dir := os.Getenv(countEnv); dir != "" {
		if err := count(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func count(dir string) error {
	l, _, err := Open(dir, noEntropy())
	if err != nil {
		return err
	}
	for range counts {
		if err := l.Update(began("app")); err != nil {
			return err
		}
	}
	return nil
}

func noEntropy() *strings.Reader   { return strings.NewReader("") }
func someEntropy() *strings.Reader { return strings.NewReader("0123456789abcdef") }

const someOwner = "30313233343536373839616263646566"

func day(n int) time.Time { return time.Date(2026, 11, n, 3, 0, 0, 0, time.UTC) }

func began(volume string) func(*State) error {
	return func(s *State) error {
		s.Began(volume, day(1))
		return nil
	}
}

func open(t *testing.T, dir string) *Ledger {
	t.Helper()
	l, aside, err := Open(dir, someEntropy())
	if err != nil || aside != nil {
		t.Fatalf("open: error %v, set aside: %v", err, aside)
	}
	return l
}

func TestWhatWasRememberedIsThereAfterARestart(t *testing.T) {
	dir := t.TempDir()
	err := open(t, dir).Update(func(s *State) error {
		s.Seen("app", day(1))
		s.Began("app", day(2))
		s.Ended("app", day(2).Add(time.Minute), errors.New("target nas: no space"), true)
		s.Label(map[string]map[string]map[string]string{"app": {"web": {"backupd.enable": "true"}}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := State{Volumes: map[string]Volume{"app": {
		Labels:    map[string]map[string]string{"web": {"backupd.enable": "true"}},
		FirstSeen: day(1), LastRun: day(2), LastEnd: day(2).Add(time.Minute), LastSuccess: day(2).Add(time.Minute), LastError: "target nas: no space",
	}}}
	if diff := cmp.Diff(want, open(t, dir).View()); diff != "" {
		t.Error("what is remembered (-want +got):\n" + diff)
	}
	if info, err := os.Stat(filepath.Join(dir, fileName)); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file's mode is %v (%v), want 0600", info.Mode(), err)
	}
}

func TestAnOwnerIsMadeOnceAndOutlivesTheLedger(t *testing.T) {
	dir := t.TempDir()
	if got := open(t, dir).Owner(); got != someOwner {
		t.Errorf("owner is %q, want %q", got, someOwner)
	}
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, aside, err := Open(dir, noEntropy())
	if err != nil || aside == nil {
		t.Fatalf("open a damaged ledger: error %v, set aside: %v", err, aside)
	}
	if l.Owner() != someOwner {
		t.Errorf("owner is %q now, want %q still", l.Owner(), someOwner)
	}
}

func TestOpenRefuses(t *testing.T) {
	tests := map[string]struct {
		name, content string // of the file that is there
		want          string
	}{
		"an owner that is none":      {ownerName, "somebody\n", "holds no owner id"},
		"an owner of no length":      {ownerName, "", "holds no owner id"},
		"a newer version":            {fileName, `{"version": 2, "volumes": {}}`, "written by a newer backupd"},
		"a newer, different version": {fileName, `{"version": 2, "volumes": []}`, "written by a newer backupd"},
		"too little entropy":         {"unrelated", "", "draw random bits for an owner id"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, tt.name)
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			entropy := someEntropy()
			if tt.name == "unrelated" {
				entropy = noEntropy()
			}
			_, _, err := Open(dir, entropy)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want %q in it", err, tt.want)
			}
			if data, err := os.ReadFile(path); string(data) != tt.content {
				t.Errorf("the file holds %q now (%v)", data, err)
			}
		})
	}
}

func TestADamagedLedgerIsSetAside(t *testing.T) {
	write := func(content string) func(string) error {
		return func(path string) error { return os.WriteFile(path, []byte(content), 0o600) }
	}
	tests := map[string]func(path string) error{
		"nothing in it":       write(""),
		"zeros":               write(strings.Repeat("\x00", 100)),
		"something else":      write("#!/bin/sh\n"),
		"no version":          write(`{"volumes": {}}`),
		"a version below any": write(`{"version": -1}`),
		"another shape":       write(`{"version": 1, "volumes": [1, 2]}`),
		"a name not escaped":  write(`{"version": 1, "volumes": {"../x": {}}}`),
		"a count below zero":  write(`{"version": 1, "volumes": {"x": {"failures": -1}}}`),
		"more after the end":  write(`{"version": 1} {"version": 1}`),
		"a folder":            func(path string) error { return os.MkdirAll(filepath.Join(path, "x"), 0o700) },
		"a pipe":              func(path string) error { return unix.Mkfifo(path, 0o600) },
		"a link to elsewhere": func(path string) error { return os.Symlink("/dev/zero", path) },
		"more than fits (sparse)": func(path string) error {
			return errors.Join(write("")(path), os.Truncate(path, maxSize+1))
		},
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, fileName)
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			l, aside, err := Open(dir, someEntropy())
			if err != nil || aside == nil || !strings.Contains(aside.Error(), path+".bad-1") {
				t.Fatalf("open: error %v; set aside: %v", err, aside)
			}
			if after, err := os.Lstat(path + ".bad-1"); err != nil || !os.SameFile(before, after) {
				t.Errorf("the damaged ledger is not where it is said to be: %v", err)
			}
			if err := l.Update(began("app")); err != nil {
				t.Error(err)
			}
			if got := open(t, dir).View().Volumes["app"].Failures; got != 1 {
				t.Errorf("the new ledger counts %d, want 1", got)
			}
		})
	}
}

func TestALedgerThatIsTornAnywhereIsSetAside(t *testing.T) {
	whole, err := State{Volumes: map[string]Volume{"app": {FirstSeen: day(1), Labels: map[string]map[string]string{"web": {"a": "b"}}}}}.encode()
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) - 1 { // without its last byte, a line end, it is still whole
		if _, err := decode(whole[:n]); !errors.Is(err, errDamaged) {
			t.Errorf("with %d of %d bytes: %v, want %v", n, len(whole), err, errDamaged)
		}
	}
}

func TestDamagedLedgersDoNotReplaceEachOther(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	for _, content := range []string{"one", "two", "three"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, aside, err := Open(dir, someEntropy()); err != nil || aside == nil {
			t.Fatalf("open: error %v; set aside: %v", err, aside)
		}
	}
	for i, want := range []string{"one", "two", "three"} {
		if got, err := os.ReadFile(fmt.Sprintf("%s.bad-%d", path, i+1)); string(got) != want {
			t.Errorf("number %d holds %q (%v), want %q", i+1, got, err, want)
		}
	}
}

func TestProcessesDoNotLoseEachOthersChanges(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	var wg sync.WaitGroup
	for range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), countEnv+"="+dir)
		wg.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("the other process: %v: %s", err, out)
			}
		})
		wg.Go(func() {
			for range counts {
				if err := l.Update(began("app")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := l.View().Volumes["app"].Failures; got != 6*counts {
		t.Errorf("%d runs were counted, want %d", got, 6*counts)
	}
}

func TestAViewIsACopy(t *testing.T) {
	l := open(t, t.TempDir())
	labels := map[string]map[string]map[string]string{"app": {"web": {"backupd.enable": "true"}}}
	if err := l.Update(func(s *State) error { s.Label(labels); return nil }); err != nil {
		t.Fatal(err)
	}
	view := l.View()
	view.Volumes["app"].Labels["web"]["backupd.enable"] = "false"
	delete(view.Volumes, "app")
	if got := l.View().Volumes["app"].Labels["web"]["backupd.enable"]; got != "true" {
		t.Errorf("the label is %q now, want it as it was", got)
	}
}

func TestAChangeThatFailsChangesNothing(t *testing.T) {
	l := open(t, t.TempDir())
	refusal := errors.New("refused")
	err := l.Update(func(s *State) error {
		s.Began("app", day(1))
		return refusal
	})
	if got := len(l.View().Volumes); !errors.Is(err, refusal) || got != 0 {
		t.Errorf("error is %v, and %d volumes are known; want %v and none", err, got, refusal)
	}
}

func TestOnAFullDiskThisProcessRemembers(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	limit := func(r unix.Rlimit) {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &r); err != nil {
			t.Fatal(err)
		}
	}
	limit(unix.Rlimit{Cur: 0, Max: before.Max})
	err := l.Update(began("app"))
	limit(before)
	if !errors.Is(err, unix.EFBIG) {
		t.Fatalf("error is %v, want %v", err, unix.EFBIG)
	}
	if got := l.View().Volumes["app"].LastRun; !got.Equal(day(1)) {
		t.Errorf("the last run was at %v, want %v", got, day(1))
	}
	if err := l.Update(began("db")); err != nil {
		t.Fatal(err)
	}
	if got := len(open(t, dir).View().Volumes); got != 2 {
		t.Errorf("%d volumes are stored once there is space, want 2", got)
	}
}

func TestWithoutItsFolderThisProcessRemembers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	away := dir + ".away"
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir)
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	if err := l.Update(began("app")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("error is %v, want %v", err, fs.ErrNotExist)
	}
	if got := l.View().Volumes["app"].LastRun; !got.Equal(day(1)) {
		t.Errorf("the last run was at %v, want %v", got, day(1))
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	if err := l.Update(began("db")); err != nil {
		t.Fatal(err)
	}
	if got := len(open(t, dir).View().Volumes); got != 2 {
		t.Errorf("%d volumes are stored once the folder is back, want 2", got)
	}
}

func TestALedgerThatIsRemovedMeanwhileIsWrittenAnew(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	if err := l.Update(began("app")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, fileName)); err != nil {
		t.Fatal(err)
	}
	if err := l.Update(began("db")); err != nil {
		t.Fatal(err)
	}
	if got := len(open(t, dir).View().Volumes); got != 2 {
		t.Errorf("%d volumes are stored, want 2", got)
	}
}

func TestOpenNeedsItsFolder(t *testing.T) {
	if _, _, err := Open(filepath.Join(t.TempDir(), "none"), someEntropy()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v, want %v", err, fs.ErrNotExist)
	}
}
