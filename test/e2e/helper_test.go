package e2e

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"golang.org/x/sys/unix"

	"github.com/backupd/backupd/internal/testenv"
)

// bound makes a volume that binds a folder of this machine only while a container uses it.
func bound(t *testing.T, d *testenv.Docker, name, dir string, labels map[string]string) string {
	t.Helper()
	return d.Volume(name, labels, map[string]string{"type": "none", "o": "bind", "device": dir})
}

// fidelity fills a folder with what a careless copy loses.
func fidelity(t *testing.T, dir string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(dir, name) }
	fill(t, at("large"), 3)
	write := func(name, text string) error { return os.WriteFile(at(name), []byte(text), 0o640) }
	err := errors.Join(
		os.MkdirAll(at("sub/empty"), 0o2750),
		write("file", "content"), write("caf\xe9", "latin"), write("new\nline", "odd"), write("sub/owned", "o"), write("suid", "s"),
		os.Link(at("file"), at("sub/hard")),
		os.Symlink("/etc/passwd", at("link")),
		unix.Mkfifo(at("pipe"), 0o600),
		unix.Mknod(at("device"), unix.S_IFCHR|0o660, int(unix.Mkdev(1, 3))),
		os.WriteFile(at("holes"), nil, 0o600), os.Truncate(at("holes"), 20<<20),
		os.Lchown(at("sub/owned"), 70000, 999), os.Lchown(at("link"), 33, 33),
		unix.Chmod(at("suid"), 0o4755),
		unix.Setxattr(at("file"), "user.note", []byte("a\x00b"), 0),
		unix.Setxattr(at("sub"), "trusted.overlay.opaque", []byte("y"), 0),
		// cap_net_raw+ep
		unix.Setxattr(at("suid"), "security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0),
		unix.UtimesNanoAt(unix.AT_FDCWD, at("file"), []unix.Timespec{{Sec: 1, Nsec: 1}, {Sec: 2, Nsec: 123456789}}, 0),
	)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(testenv.Tool(t, "setfacl"), "-m", "u:33:rx,d:g:44:rwx", at("sub")).CombinedOutput(); err != nil {
		t.Fatalf("setfacl: %v\n%s", err, out)
	}
}

// exported is the plain tar of the newest snapshot.
func (p *program) exported(volume string) string {
	p.t.Helper()
	all := p.list(volume)
	if len(all) == 0 {
		p.t.Fatalf("volume %s has no snapshot", volume)
	}
	return p.run(0, "export", all[len(all)-1].ID).out
}

// helpersOf are the helper containers that have a volume.
func helpersOf(t *testing.T, d *testenv.Docker, volume string) (ids []string) {
	t.Helper()
	list, err := d.API.ContainerList(t.Context(), container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", "backupd.helper"), filters.Arg("volume", volume))})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	return ids
}

// noHelpers fails the test unless all of a volume's helpers are gone, or soon will be.
func noHelpers(t *testing.T, d *testenv.Docker, volume string) {
	t.Helper()
	eventually(t, "no helper is left", func() bool { return len(helpersOf(t, d, volume)) == 0 })
}

func TestVolumesThatNothingMountsGoThroughAHelper(t *testing.T) {
	testenv.Root(t)
	t.Parallel()
	d := testenv.NewDocker(t)
	p := newProgram(t, d)
	source, target := t.TempDir(), t.TempDir()
	fidelity(t, source)
	volume := bound(t, d, "bound", source, enrolled())
	if got := p.backup(0, volume)[0].Snapshot; !got.Good || got.Bytes < 3<<20 {
		t.Errorf("the snapshot has %d bytes and is %+v", got.Bytes, got)
	}
	want := p.exported(volume)

	back := bound(t, d, "back", target, enrolled())
	p.run(0, "restore", volume, "--to-volume", back)
	p.backup(0, back)
	if p.exported(back) != want {
		t.Error("what was restored is not what was backed up")
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(target, "holes"), &st); err != nil || st.Blocks > 16 {
		t.Errorf("the holes take %d blocks (%v)", st.Blocks, err)
	}
	e := p.run(1, "restore", volume, "--to-volume", back)
	if !strings.Contains(e.complaints, "not empty") {
		t.Errorf("it says %s", e.complaints)
	}

	part := bound(t, d, "part", t.TempDir(), nil)
	p.run(0, "restore", volume, "--to-volume", part, "--path", "sub")
	p.run(1, "restore", volume, "--to-volume", bound(t, d, "none", t.TempDir(), nil), "--path", "nope")

	// A helper that the engine runs meanwhile is no user of the volume, and others who use it are.
	app := d.Run(testenv.Container{
		Name: "app", Config: container.Config{Image: d.ShellImage()}, HostConfig: container.HostConfig{Binds: []string{volume + ":/data"}},
	})
	before := runs(t, d, app)
	if err := errors.Join(os.Remove(filepath.Join(source, "file")), os.WriteFile(filepath.Join(source, "mistake"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	p.run(0, "restore", volume, "--in-place")
	wantRunning(t, d, app)
	if runs(t, d, app) == before {
		t.Error("the container was not stopped for it")
	}
	p.backup(0, volume)
	if p.exported(volume) != want {
		t.Error("what was restored in place is not what was backed up")
	}
	for _, v := range []string{volume, back, part} {
		noHelpers(t, d, v)
	}
}

// With its container the engine would unmount the volume, and its content would be gone for good.
func TestAVolumeInMemorySurvivesAStop(t *testing.T) {
	t.Parallel()
	d := testenv.NewDocker(t)
	p := newProgram(t, d).with("BACKUPD_QUIESCE", "stop")
	volume := d.Volume("memory", enrolled(), map[string]string{"type": "tmpfs", "device": "tmpfs"})
	id := d.Run(testenv.Container{
		Name:       "app",
		Config:     container.Config{Image: d.ShellImage(), Cmd: []string{"/bin/sh", "-c", "test -e /data/file || echo here >/data/file; echo done; " + testenv.Wait}},
		HostConfig: container.HostConfig{Binds: []string{volume + ":/data"}},
	})
	d.WaitLog(id, "done")
	d.Exec(id, "/bin/sh", "-c", "echo more >/data/file")
	got := p.backup(0, volume)[0].Snapshot
	if got.Grade != "cold" || got.Bytes != int64(len("more\n")) {
		t.Errorf("the snapshot is %+v", got)
	}
	if text := d.Exec(id, "cat", "/data/file"); text != "more\n" {
		t.Errorf("the container finds %q", text)
	}
	d.Exec(id, "/bin/sh", "-c", "echo mistake >/data/file")
	p.run(0, "restore", volume, "--in-place")
	if text := d.Exec(id, "cat", "/data/file"); text != "more\n" {
		t.Errorf("after a restore the container finds %q", text)
	}
	noHelpers(t, d, volume)
}

// elsewhere is the program on a host that sees nothing of the engine's, and reaches it by TCP.
func (p *program) elsewhere(d *testenv.Docker) *program {
	p.t.Helper()
	info, err := d.API.Info(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	c := p.with("DOCKER_HOST", "tcp://"+forward(p.t, strings.TrimPrefix(d.Host, "unix://")))
	c.wrap = []string{testenv.Tool(p.t, "unshare"), "--mount", "sh", "-c", `mount -t tmpfs none "$1" && shift && exec "$@"`, "sh", filepath.Join(info.DockerRootDir, "volumes")}
	return c
}

// forward passes connections on to a socket, and gives the address for them.
func forward(t *testing.T, socket string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { pass(from.(*net.TCPConn), socket) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // ends the loop
		all.Wait()
	})
	return l.Addr().String()
}

func pass(from *net.TCPConn, socket string) {
	defer from.Close()
	to, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer to.Close()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(to, from); _ = to.(*net.UnixConn).CloseWrite() })
	both.Go(func() { _, _ = io.Copy(from, to); _ = from.CloseWrite(); _ = from.CloseRead() })
	both.Wait()
}

func TestAnEngineElsewhere(t *testing.T) {
	testenv.Root(t)
	t.Parallel()
	d := testenv.NewDocker(t)
	here := newProgram(t, d)
	volume := d.Volume("data", enrolled(), nil)
	fidelity(t, folder(t, d, volume))
	here.backup(0, volume)
	want := here.exported(volume)

	there := here.elsewhere(d).with("BACKUPD_STATE_DIR", t.TempDir())
	there.local = t.TempDir()
	there = there.with("BACKUPD_TARGETS", there.localTarget())
	there.backup(0, volume)
	if there.exported(volume) != want { // the archives differ by what a later one has to know to lean on them, which a helper does not tell
		t.Error("it is not what a direct reader has archived")
	}
	back := d.Volatile("back")
	there.run(0, "restore", volume, "--to-volume", back)
	here.backup(0, back)
	if here.exported(back) != want {
		t.Error("what was restored is not what was backed up")
	}
	there.run(0, "restore", volume, "--in-place")
	here.backup(0, volume)
	if here.exported(volume) != want {
		t.Error("what was restored in place is not what was backed up")
	}
	noHelpers(t, d, volume)
}

// slowReading gives a volume whose folder takes long to read, a container on it, and what the program says while a helper reads it.
func slowReading(t *testing.T, d *testenv.Docker, p *program) (volume, app string, r *process) {
	t.Helper()
	source := t.TempDir()
	fill(t, filepath.Join(source, "large"), 64)
	volume = bound(t, d, "slow", source, enrolled())
	app = d.Run(testenv.Container{
		Name: "app", Config: container.Config{Image: d.ShellImage()}, HostConfig: container.HostConfig{Binds: []string{volume + ":/data"}},
	})
	r = p.with("BACKUPD_READ_LIMIT", "4MiB").start("backup", volume)
	eventually(t, "the container is held", func() bool { return inspect(t, d, app).State.Status == container.StatePaused })
	return volume, app, r
}

func TestAHelperThatIsKilled(t *testing.T) {
	t.Parallel()
	d := testenv.NewDocker(t)
	p := newProgram(t, d)
	volume, app, r := slowReading(t, d, p)
	for _, id := range helpersOf(t, d, volume) {
		if err := d.API.ContainerKill(t.Context(), id, "KILL"); err != nil {
			t.Fatal(err)
		}
	}
	e := r.wait()
	if e.code != 1 || !strings.Contains(e.complaints, "exit code 137") {
		t.Errorf("exit code %d, and it says:\n%s", e.code, e.complaints)
	}
	wantRunning(t, d, app)
	if left := p.list(volume); len(left) > 0 {
		t.Errorf("there are snapshots: %+v", left)
	}
	if left, err := filepath.Glob(filepath.Join(p.local, host, volume, "*")); err != nil || len(left) > 0 {
		t.Errorf("on the target there are %q (%v)", left, err)
	}
	noHelpers(t, d, volume)
	p.backup(0, volume)
}

func TestAHelperWhoseProgramIsKilled(t *testing.T) {
	t.Parallel()
	d := testenv.NewDocker(t)
	p := newProgram(t, d)
	volume, app, r := slowReading(t, d, p)
	r.signal(syscall.SIGKILL)
	r.wait()
	noHelpers(t, d, volume)
	eventually(t, "the container runs again", func() bool { return inspect(t, d, app).State.Status == container.StateRunning })

	// One that could not even start is removed by the next.
	owner, err := os.ReadFile(filepath.Join(p.setting("BACKUPD_STATE_DIR"), "owner"))
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"backupd.helper": strings.TrimSpace(string(owner))}
	d.Create(testenv.Container{
		Name: "left", Config: container.Config{Image: d.ShellImage(), Labels: labels}, HostConfig: container.HostConfig{Binds: []string{volume + ":/volume"}},
	})
	p.backup(0, volume)
	noHelpers(t, d, volume)
}

// A helper that waits for its program to take what it reads cannot look after itself at that moment.
func TestAHelperThatIsStuckWhenItsProgramIsKilled(t *testing.T) {
	t.Parallel()
	d := testenv.NewDocker(t)
	p := newProgram(t, d)
	source := t.TempDir()
	fill(t, filepath.Join(source, "large"), 256)
	volume := bound(t, d, "large", source, enrolled())
	r := p.start("backup", volume)
	var reads string
	eventually(t, "the helper reads", func() bool {
		for _, id := range helpersOf(t, d, volume) {
			// The first process only waits for the other.
			all, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(inspect(t, d, id).State.Pid), "task", "*", "children"))
			for _, list := range all {
				if pid, _ := os.ReadFile(list); err == nil && len(pid) > 0 {
					reads = filepath.Join("/proc", strings.TrimSpace(string(pid)), "io")
				}
			}
		}
		return reads != "" && number(t, reads, "rchar:") > 16<<20
	})
	r.signal(syscall.SIGSTOP)
	var before int64
	eventually(t, "the helper is stuck", func() bool {
		last := before
		before = number(t, reads, "rchar:")
		return before == last
	})
	if before > 250<<20 {
		t.Error("it read all there is meanwhile")
	}
	r.signal(syscall.SIGKILL)
	r.wait()
	noHelpers(t, d, volume)
}

// number is one of those that a file of /proc names.
func number(t *testing.T, path, name string) int64 {
	t.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), name)
	n, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A restore whose program is killed leaves the volume as empty as it was.
func TestARestoreWhoseProgramIsKilled(t *testing.T) {
	t.Parallel()
	d := testenv.NewDocker(t)
	p := newProgram(t, d)
	source, target := t.TempDir(), t.TempDir()
	fill(t, filepath.Join(source, "large"), 512)
	volume, back := bound(t, d, "large", source, enrolled()), bound(t, d, "back", target, nil)
	p.backup(0, volume)
	r := p.start("restore", volume, "--to-volume", back)
	eventually(t, "something is there", func() bool { return len(visible(t, target)) > 0 })
	r.signal(syscall.SIGKILL)
	if e := r.wait(); e.code == 0 {
		t.Skip("it was faster than the signal")
	}
	noHelpers(t, d, back)
	if left := visible(t, target); len(left) > 0 {
		t.Errorf("there are %q", left)
	}
	p.run(0, "restore", volume, "--to-volume", back)
}

func visible(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A backupd in a container may have nothing but the engine's socket.
func TestAContainerWithOnlyTheSocket(t *testing.T) {
	t.Parallel()
	d := testenv.NewDocker(t)
	p := newProgram(t, d)
	volume, app := appWithData(t, d, 4)
	back := d.Volatile("back")
	inContainer := func(name string, args ...string) {
		t.Helper()
		id := d.Run(testenv.Container{Name: name,
			Config: container.Config{
				Image: d.ProgramImage(binary(t)), Cmd: args, Env: []string{"BACKUPD_HOST=" + host, "BACKUPD_STATE_DIR=/state", "BACKUPD_TARGETS=local=file:///backups"},
			},
			HostConfig: container.HostConfig{Binds: []string{
				strings.TrimPrefix(d.Host, "unix://") + ":/var/run/docker.sock", p.setting("BACKUPD_STATE_DIR") + ":/state", p.local + ":/backups",
			}},
		})
		ended, failed := d.API.ContainerWait(t.Context(), id, container.WaitConditionNotRunning)
		select {
		case end := <-ended:
			if end.StatusCode != 0 {
				t.Fatalf("backupd %q ended with exit code %d, and says:\n%s", args, end.StatusCode, d.Logs(id))
			}
		case err := <-failed:
			t.Fatal(err)
		}
	}
	inContainer("backs-up", "backup", volume)
	wantRunning(t, d, app)
	want := p.exported(volume)
	inContainer("restores", "restore", volume, "--to-volume", back)
	p.backup(0, back)
	if p.exported(back) != want {
		t.Error("what was restored is not what was backed up")
	}
	noHelpers(t, d, volume)
	noHelpers(t, d, back)
}
