package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/testenv"
)

// holding is a way to back a database up, of which its clients feel something.
type holding struct {
	name   string
	kind   string        // of the volume's file system; "" is that of temporary files
	dirty  int           // MiB that are written to the volume just before
	cloned bool          // that its files are cloned
	most   time.Duration // that clients may wait; 0 is no limit
	backup func(h *heldDatabase)
}

// heldDatabase is a database under load, in a volume of an engine of its own.
type heldDatabase struct {
	database
	e      *testenv.OwnEngine
	p      *program
	volume string
	socket string // folder on the host
	name   string // of the database that pgbench works on
}

// TestWhatClientsFeelOfABackup measures the longest time between two commits of pgbench while its database is backed up. In its long form
// (make hold) that is done to the set of the benchmarks, against what people do today.
func TestWhatClientsFeelOfABackup(t *testing.T) {
	program := func(h *heldDatabase) { h.p.backup(0, h.volume) }
	spooled := func(h *heldDatabase) {
		two := h.p.with("BACKUPD_TARGETS", h.p.localTarget()+",other=file://"+h.t.TempDir())
		two.backup(0, h.volume)
	}
	ways := []holding{
		{name: "xfs cloned", kind: "xfs", cloned: true, backup: program},
		{name: "btrfs cloned", kind: "btrfs", cloned: true, backup: program},
	}
	if os.Getenv("TEST_HOLD_DATA") != "" {
		ways = []holding{
			{name: "nothing at all", backup: func(*heldDatabase) { time.Sleep(5 * time.Second) }},
			{name: "xfs cloned", kind: "xfs", cloned: true, most: 120 * time.Millisecond, backup: program},
			{name: "btrfs cloned", kind: "btrfs", cloned: true, most: 120 * time.Millisecond, backup: program},
			{name: "btrfs cloned with 256 MB dirty", kind: "btrfs", dirty: 256, cloned: true, most: 120 * time.Millisecond, backup: program},
			{name: "pause to a local target", backup: program},
			{name: "pause with a spool", backup: spooled},
			{name: "pause and tar --zstd", backup: pauseAndTar},
			{name: "stop and tar --zstd", backup: stopAndTar},
		}
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) { way.measure(t) })
	}
}

func (way holding) measure(t *testing.T) {
	scratch := os.TempDir()
	if way.kind != "" {
		scratch = testenv.FileSystem(t, way.kind, 16<<10)
	}
	e := testenv.NewOwnEngineIn(t, scratch)
	var gaps []time.Duration
	var held []int64
	for i := range holdRuns(t) { // each on new data: what is written while clones exist fragments files, which makes the next clone slower
		h := newHeldDatabase(t, e, strconv.Itoa(i))
		way.write(t, folder(t, e.Docker, h.volume))
		gaps = append(gaps, h.longestGap(way.backup))
		held = append(held, h.held()...)
		way.check(h)
		e.Remove(h.id)
		e.RemoveVolume(h.volume)
	}
	slices.Sort(gaps)
	median := gaps[len(gaps)/2]
	t.Logf("%s: longest time between commits, median %v of %v; held for %v ms", way.name, median, gaps, held)
	t.Attr("longest_gap_"+strings.Map(onlyLetters, way.name), median.String())
	if way.most > 0 && median > way.most {
		t.Errorf("clients waited for %v, and may for %v", median, way.most)
	}
}

// check makes sure of a backup that was made this way.
func (way holding) check(h *heldDatabase) {
	h.t.Helper()
	if way.cloned {
		h.wantCloned()
	}
	if h.name == "postgres" {
		h.check()
	}
}

func onlyLetters(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
		return r
	}
	return '_'
}

// holdRuns is how often each way is measured.
func holdRuns(t *testing.T) int {
	text := os.Getenv("TEST_HOLD_RUNS")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// write makes so much dirty.
func (way holding) write(t *testing.T, dir string) {
	t.Helper()
	if way.dirty > 0 {
		fill(t, filepath.Join(dir, "dirty"), way.dirty)
	}
}

// newHeldDatabase is a database with tables of some MB, or a copy of that in TEST_HOLD_DATA.
func newHeldDatabase(t *testing.T, e *testenv.OwnEngine, run string) *heldDatabase {
	t.Helper()
	h := &heldDatabase{e: e, p: newProgram(t, e.Docker), name: "postgres", volume: e.Volume("data"+run, enrolled(), nil)}
	var err error
	if h.socket, err = os.MkdirTemp("", "sock-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(h.socket) }) // of the user of a container
	if err := os.Chmod(h.socket, 0o777); err != nil {
		t.Fatal(err)
	}
	data := os.Getenv("TEST_HOLD_DATA")
	if data != "" {
		h.name = "bench"
		dir := folder(t, e.Docker, h.volume)
		shell(t, fmt.Sprintf("cp -a %s/. %s && chown -R 70:70 %[2]s && sed -i s,Etc/UTC,UTC, %[2]s/postgresql.conf && sync", data, dir))
	}
	h.database = database{t, e.Docker, e.Run(testenv.Container{
		Name: "db" + run,
		Config: container.Config{Image: e.PostgresImage(),
			Cmd: []string{"/bin/sh", "/start", "-c", "unix_socket_directories=/tmp,/socket", "-c", "max_wal_size=1GB"}},
		HostConfig: container.HostConfig{Binds: []string{h.volume + ":/data", h.socket + ":/socket"}},
	})}
	e.WaitLog(h.id, testenv.PostgresReady)
	if data == "" {
		e.Exec(h.id, "pgbench", "-i", "-s", "5", "--quiet")
		h.ask("create extension amcheck")
	}
	return h
}

func shell(t testing.TB, command string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// longestGap is the longest time between two commits while a backup is made.
func (h *heldDatabase) longestGap(backup func(*heldDatabase)) time.Duration {
	h.t.Helper()
	const before, after = 2 * time.Second, 2 * time.Second
	var commits []time.Time
	enough, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			err := h.pgbench(&commits)
			select {
			case <-enough:
				done <- err
				return
			default:
			}
		}
	}()
	time.Sleep(before) // what is measured takes time
	began := time.Now()
	backup(h)
	over := time.Now()
	time.Sleep(after)
	close(enough)
	if err := <-done; err != nil {
		h.t.Error(err)
	}
	return longest(h.t, commits, began, over.Add(after/2))
}

// pgbench works for some seconds from outside of the container, and notes the time of each commit.
func (h *heldDatabase) pgbench(commits *[]time.Time) error {
	dir, err := os.MkdirTemp("", "pgbench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bench := exec.Command("/usr/lib/postgresql/15/bin/pgbench", "-h", h.socket, "-U", "postgres", "-n", "-c", "2", "-T", "10", "-l", h.name)
	bench.Dir = dir
	_, failed := bench.CombinedOutput() // as it does while there is no server
	logs, err := filepath.Glob(filepath.Join(dir, "pgbench_log.*"))
	if err != nil {
		return err
	}
	for _, log := range logs {
		if err := readCommits(log, commits); err != nil {
			return err
		}
	}
	return failed
}

// readCommits reads a log of pgbench: client, transaction, microseconds, script, and the time of the commit in seconds and microseconds.
func readCommits(log string, commits *[]time.Time) error {
	f, err := os.Open(log)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var client, transaction, took, script, s, us int64
		if _, err := fmt.Sscan(lines.Text(), &client, &transaction, &took, &script, &s, &us); err != nil {
			return fmt.Errorf("read %q: %w", lines.Text(), err)
		}
		*commits = append(*commits, time.Unix(s, us*1000))
	}
	return lines.Err()
}

func longest(t *testing.T, commits []time.Time, from, to time.Time) (gap time.Duration) {
	t.Helper()
	slices.SortFunc(commits, time.Time.Compare)
	last, n := from, 0
	for _, c := range commits {
		if c.After(from) && c.Before(to) {
			gap, last, n = max(gap, c.Sub(last)), c, n+1
		}
	}
	if n == 0 {
		t.Fatal("pgbench has not committed anything")
	}
	return max(gap, to.Sub(last))
}

func pauseAndTar(h *heldDatabase) {
	dir := folder(h.t, h.e.Docker, h.volume)
	out := filepath.Join(h.t.TempDir(), "a")
	must(h.t, h.e.API.ContainerPause(h.t.Context(), h.id))
	defer func() { must(h.t, h.e.API.ContainerUnpause(h.t.Context(), h.id)) }()
	shell(h.t, fmt.Sprintf("tar --zstd -cf %s -C %s .", out, dir))
}

func stopAndTar(h *heldDatabase) {
	dir := folder(h.t, h.e.Docker, h.volume)
	out := filepath.Join(h.t.TempDir(), "a")
	must(h.t, h.e.API.ContainerStop(h.t.Context(), h.id, container.StopOptions{}))
	shell(h.t, fmt.Sprintf("tar --zstd -cf %s -C %s .", out, dir))
	must(h.t, h.e.API.ContainerStart(h.t.Context(), h.id, container.StartOptions{}))
	h.waitAnswer()
}

// held is for how many milliseconds the program says that it has held the database.
func (h *heldDatabase) held() (ms []int64) {
	h.t.Helper()
	for _, s := range h.p.list(h.volume) {
		ms = append(ms, s.HeldMS)
	}
	return ms
}

// wantCloned fails the test unless the last snapshot comes from clones, of which nothing is left, and opens in PostgreSQL.
func (h *heldDatabase) wantCloned() {
	h.t.Helper()
	all := h.p.list(h.volume)
	last := all[len(all)-1]
	text, err := os.ReadFile(filepath.Join(h.p.local, host, h.volume, last.ID+".json"))
	must(h.t, err)
	if !strings.Contains(string(text), `"cloned"`) || last.Grade != "frozen" {
		h.t.Errorf("the snapshot is %s, and not of clones: %s", last.Grade, text)
	}
	h.wantNoClones()
	restored := h.volume + "-restored"
	defer h.e.RemoveVolume(restored)
	h.p.run(0, "restore", h.volume, "--to-volume", restored)
	back := startDatabase(h.t, h.e.Docker, "back-of-"+h.volume, restored)
	back.logged("automatic recovery in progress")
	if h.name == "postgres" {
		back.check()
	}
	h.e.Remove(back.id)
}

func (h *heldDatabase) wantNoClones() {
	h.t.Helper()
	beside, err := os.ReadDir(filepath.Dir(folder(h.t, h.e.Docker, h.volume)))
	if err != nil || len(beside) != 1 {
		h.t.Errorf("beside the volume's content there are %v (%v)", beside, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
