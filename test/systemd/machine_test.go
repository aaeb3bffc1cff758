// Package systemd tests the units under a real systemd, with a real engine beside: machine.sh boots both, apart from this machine's own.
package systemd

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/testenv"
)

// machine is one that runs systemd, Docker as Debian brings it, and backupd as the README installs it.
type machine struct {
	*testenv.Docker
	t *testing.T
	*box
}

// box is what is the same for all tests on a machine.
type box struct {
	dir  string
	init string // process 1, as it is called here
	off  func() // cuts its power
}

// with is the same machine for another test, whose containers and volumes are gone when it ends, and whose daemon was not started yet.
func (m *machine) with(t *testing.T) *machine {
	of := &machine{Docker: testenv.NewDocker(t), t: t, box: m.box}
	t.Cleanup(func() {
		of.run("sh", "-c", "systemctl stop backupd.service; systemctl reset-failed; rm -f /var/log/backupd*.log")
	})
	return of
}

// newMachine boots a machine on which backupd's units are installed, and neither enabled nor started.
func newMachine(t *testing.T) *machine {
	t.Helper()
	testenv.Root(t)
	for _, tool := range []string{"/lib/systemd/systemd", "systemctl", "nsenter", "unshare", "ip", "dockerd", "busybox", "getfattr", "setfacl", "pgrep"} {
		testenv.Tool(t, tool)
	}
	m := &machine{t: t, box: &box{dir: t.TempDir(), off: func() {}}}
	t.Cleanup(func() { m.off() }) // as it is then: another boot has another
	m.installSystem()
	m.installBackupd()
	m.boot()
	return m
}

// installSystem gives the machine no more of Debian's units than Docker's, and what these need.
func (m *machine) installSystem() {
	m.t.Helper()
	for _, name := range []string{"basic.target", "multi-user.target", "shutdown.target", "sockets.target", "sysinit.target",
		"containerd.service", "docker.service", "docker.socket"} {
		m.install(filepath.Join("/lib/systemd/system", name), filepath.Join("units", name))
	}
	m.write("units/multi-user.target.d/docker.conf", "[Unit]\nWants=docker.service\n")
	m.write("units/service.d/log.conf", "[Service]\nStandardOutput=append:/var/log/%p.log\nStandardError=append:/var/log/%p.log\n")
	m.write("disk/etc/default/docker", "DOCKER_OPTS=--exec-opt native.cgroupdriver=cgroupfs --iptables=false --ip-masq=false --ip6tables=false\n")
}

// installBackupd installs the program and its units. A daemon backs up every second, and reads so slowly that there is time to watch it.
func (m *machine) installBackupd() {
	m.t.Helper()
	build := exec.Command("go", "build", "-o", filepath.Join(m.dir, "disk/usr/bin/backupd"), "github.com/backupd/backupd/cmd/backupd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		m.t.Fatalf("build the program: %v\n%s", err, out)
	}
	for _, name := range []string{"backupd.service", "backupd-recover.service", "backupd-settle.service"} {
		m.install(filepath.Join("../../systemd", name), filepath.Join("units", name))
	}
	m.write("disk/etc/backupd/backupd.env", "BACKUPD_HOST=machine\nBACKUPD_SCHEDULE=* * * * * *\nBACKUPD_READ_LIMIT=1MiB\n")
}

// boot starts the machine, again if it was off.
func (m *machine) boot() {
	m.t.Helper()
	script := exec.Command("./machine.sh", m.dir)
	script.Stderr = os.Stderr
	power, err := script.StdinPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	said, err := script.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := script.Start(); err != nil {
		m.t.Fatal(err)
	}
	on := true
	m.off = func() {
		if !on {
			return
		}
		on = false
		_ = power.Close() // the end of the script tells
		if err := script.Wait(); err != nil {
			m.t.Errorf("cut the machine's power: %v", err)
		}
	}
	init, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		m.t.Fatalf("boot a machine: %v", err)
	}
	m.init = strings.TrimSpace(init)
	m.eventually("it has booted", func() bool { return m.system("is-system-running") == "running" })
	m.connect()
}

// connect opens the machine's engine, under an address that is the same after each boot.
func (m *machine) connect() {
	m.t.Helper()
	address := filepath.Join(m.dir, "sock")
	if err := os.Remove(address); err != nil && !os.IsNotExist(err) {
		m.t.Fatal(err)
	}
	if err := os.Symlink("/proc/"+m.init+"/root/run/docker.sock", address); err != nil {
		m.t.Fatal(err)
	}
	if m.Docker == nil {
		m.t.Setenv("TEST_DOCKER_HOST", "unix://"+address)
		m.Docker = testenv.NewDocker(m.t)
	}
}

// try runs a command on the machine.
func (m *machine) try(args ...string) (string, error) {
	out, err := exec.Command("nsenter", append([]string{"--target", m.init, "--all", "--"}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// run runs a command on the machine that is to succeed.
func (m *machine) run(args ...string) string {
	m.t.Helper()
	out, err := m.try(args...)
	if err != nil {
		m.t.Fatalf("%q on the machine: %v\n%s\n%s", args, err, out, m.log())
	}
	return out
}

// system asks systemctl something of which the answer counts, and the exit code does not.
func (m *machine) system(args ...string) string {
	out, _ := m.try(append([]string{"systemctl"}, args...)...)
	return out
}

// property gives one property of a unit.
func (m *machine) property(unit, name string) string {
	return m.system("show", "--value", "--property", name, unit)
}

// log is what the daemon has said, and whatever recovered after it.
func (m *machine) log() string {
	out, _ := m.try("sh", "-c", "tail -n 100 /var/log/backupd*.log") // for whoever reads why a test failed
	return out
}

// write writes a file to the machine's disk while it is off, or to its units at any time.
func (m *machine) write(name, text string) {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) install(from, name string) {
	m.t.Helper()
	m.write(name, m.read(from))
}

// read reads a file of this machine.
func (m *machine) read(name string) string {
	m.t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

// state is a container's.
func (m *machine) state(id string) container.ContainerState {
	m.t.Helper()
	c, err := m.API.ContainerInspect(m.t.Context(), id)
	if err != nil {
		m.t.Fatal(err)
	}
	return c.State.Status
}

// eventually waits until something holds that another process brings about.
func (m *machine) eventually(what string, holds func() bool) {
	m.t.Helper()
	defer func() {
		if m.t.Failed() {
			m.t.Logf("the daemon says:\n%s", m.log())
		}
	}()
	testenv.Eventually(m.t, what, holds)
}
