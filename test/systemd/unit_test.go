package systemd

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/testenv"
)

func TestUnits(t *testing.T) {
	m := newMachine(t)
	for _, tt := range []struct {
		name string
		test func(*testing.T, *machine)
	}{
		{"the daemon starts in its sandbox", testSandbox},
		{"all metadata come back through the sandbox", testMetadata},
		{"stopping the daemon lets go", testStop},
		{"stopping the daemon waits for a container that takes long to stop", testSlowStop},
		{"killing the daemon lets go", testKill("main")},
		{"killing the daemon and its guards lets go", testKill("all")},
		{"what the time-out of a stop has left held is let go later", testTimeout},
		{"what a power cut has left held runs after the boot", testPowerCut},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, m.with(t)) })
	}
}

func testSandbox(t *testing.T, m *machine) {
	m.run("systemctl", "enable", "--now", "backupd.service")
	m.eventually("the daemon has started", func() bool { return strings.Contains(m.log(), "daemon started") })
	pid := m.property("backupd.service", "MainPID")
	status := m.run("cat", "/proc/"+pid+"/status")
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t000000008820001f"} {
		if !strings.Contains(status, want) {
			t.Errorf("the daemon is not %q: %s", want, status)
		}
	}
	for folder, writable := range map[string]bool{"/usr": false, "/etc": false, "/var/backups": true, "/var/lib/docker": true, "/var/lib/backupd": true} {
		if _, err := m.try("nsenter", "--target", pid, "--mount", "test", "-w", folder); (err == nil) != writable {
			t.Errorf("the daemon can write to %s: %v, want %v", folder, err == nil, writable)
		}
	}
}

// strange makes files that only somebody with all of the unit's capabilities can give back.
const strange = `set -e; cd "$1"
printf x >suid; chown 1234:4321 suid; chmod 6755 suid
printf y >attributes; setfattr -n user.a -v 1 attributes; setfattr -n trusted.b -v 2 attributes
setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 attributes
setfacl -m u:1234:rw attributes
mknod device c 1 3; mknod fifo p; ln suid link; ln -s suid symlink; mkdir -m 1730 sticky; chown 4321:1234 sticky symlink device -h
touch -d '2001-02-03 04:05:06.789012345' suid sticky device`

// metadata lists all that is known of each file.
const metadata = `cd "$1"; find . -printf '%p %M %U:%G %n %s %T@ %l\n' | sort; stat -c '%n %t:%T' device; getfattr -h -d -m - -e hex * | grep .`

func testMetadata(t *testing.T, m *machine) {
	volume := m.Volume("data", map[string]string{"backupd.enable": "true"}, nil)
	where := "/var/lib/docker/volumes/" + volume + "/_data"
	m.run("sh", "-c", strange, "sh", where)
	want := m.run("sh", "-c", metadata, "sh", where)
	app := m.app(volume, testenv.Container{})
	m.run("systemctl", "start", "backupd.service")
	m.eventually("there is a snapshot", func() bool {
		_, err := m.try("sh", "-c", "ls /var/backups/backupd/machine/"+volume+"/*.json")
		return err == nil
	})
	m.run("systemctl", "stop", "backupd.service")
	m.run("sh", "-c", `cd "$1" && rm -r * && touch later`, "sh", where)

	restore := strings.NewReplacer("/usr/bin/backupd run", "/usr/bin/backupd restore "+volume+" --in-place", "Type=simple", "Type=oneshot",
		"Restart=on-failure", "Restart=no")
	m.write("units/restoring.service", restore.Replace(m.read("../../systemd/backupd.service")))
	m.run("systemctl", "daemon-reload")
	m.run("systemctl", "start", "restoring.service")
	if got := m.run("sh", "-c", metadata, "sh", where); got != want {
		t.Errorf("files came back as\n%s\nwant\n%s", got, want)
	}
	m.wantRunning(app)
}

func testStop(t *testing.T, m *machine) {
	id := m.held()
	m.run("systemctl", "stop", "backupd.service")
	m.wantRunning(id)
	m.wantSuccess()
}

// The engine finishes a stop that nobody waits for any more, so the container may only be started again after that.
func testSlowStop(t *testing.T, m *machine) {
	volume := m.Volume("data", map[string]string{"backupd.enable": "true", "backupd.quiesce": "stop"}, nil)
	grace := 5
	slow := testenv.Container{Config: container.Config{StopTimeout: &grace, Cmd: []string{"sh", "-c", "trap 'echo told' TERM; while :; do sleep 0.1; done"}}}
	id := m.app(volume, slow)
	m.run("systemctl", "start", "backupd.service")
	m.WaitLog(id, "told")
	asked := time.Now()
	m.run("systemctl", "stop", "backupd.service")
	m.wantRunning(id)
	m.wantSuccess()
	t.Attr("daemon_stopped_while_a_container_stops", time.Since(asked).Round(100*time.Millisecond).String())
	if got := m.property("backupd.service", "TimeoutStopUSec"); got != "8min" {
		t.Errorf("systemd would wait %s", got)
	}
}

func testKill(whom string) func(*testing.T, *machine) {
	return func(t *testing.T, m *machine) {
		id := m.held()
		m.run("systemctl", "kill", "--signal=KILL", "--kill-whom="+whom, "backupd.service")
		killed := time.Now()
		m.eventually("the container runs", func() bool { return m.state(id) == container.StateRunning })
		t.Attr("let_go_after_kill_of_"+whom, time.Since(killed).Round(time.Millisecond).String())
		m.eventually("the unit is to be started again", func() bool { return m.property("backupd.service", "SubState") == "auto-restart" })
		m.run("systemctl", "stop", "backupd.service")
		m.wantNothingLeft()
	}
}

// An engine that does not answer keeps everybody from letting go, the one that runs after a stop included.
func testTimeout(t *testing.T, m *machine) {
	m.write("units/backupd.service.d/impatient.conf", "[Service]\nTimeoutStopSec=2s\n")
	m.run("systemctl", "daemon-reload")
	t.Cleanup(func() {
		m.run("sh", "-c", "rm /etc/systemd/system/backupd.service.d/impatient.conf; systemctl daemon-reload")
	})
	id := m.held()
	m.run("systemctl", "kill", "--signal=STOP", "docker.service")
	asked := time.Now()
	m.run("systemctl", "stop", "backupd.service")
	if took := time.Since(asked); took < 2*time.Second || took > 15*time.Second {
		t.Errorf("the stop took %s", took)
	}
	if got := m.property("backupd.service", "Result"); got != "timeout" {
		t.Errorf("the unit ended as %s", got)
	}
	m.run("systemctl", "kill", "--signal=CONT", "docker.service")
	if got := m.state(id); got != container.StatePaused {
		t.Errorf("the container is %s", got)
	}
	m.run("systemctl", "start", "backupd-recover.service")
	m.wantRunning(id)
	m.wantNothingLeft()
}

func testPowerCut(t *testing.T, m *machine) {
	m.run("sh", "-c", "systemctl disable backupd.service; systemctl enable backupd-recover.service")
	id := m.held()
	m.off()
	m.boot()
	m.wantRunning(id)
	m.wantNothingLeft()
	if m.property("backupd.service", "ActiveState") != "inactive" {
		t.Error("the daemon runs that is not enabled")
	}
}

// app runs a container on a volume.
func (m *machine) app(volume string, c testenv.Container) (id string) {
	m.t.Helper()
	c.Name, c.Image = "app", m.ShellImage()
	c.HostConfig.Binds = []string{volume + ":/data"}
	return m.Run(c)
}

// held starts the daemon and gives a container that it holds, for a minute.
func (m *machine) held() (id string) {
	m.t.Helper()
	volume := m.Volume("data", map[string]string{"backupd.enable": "true"}, nil)
	m.run("dd", "if=/dev/urandom", "of=/var/lib/docker/volumes/"+volume+"/_data/ballast", "bs=1M", "count=60")
	id = m.app(volume, testenv.Container{})
	m.run("systemctl", "start", "backupd.service")
	m.eventually("the container is held", func() bool { return m.state(id) == container.StatePaused })
	return id
}

func (m *machine) wantRunning(id string) {
	m.t.Helper()
	if got := m.state(id); got != container.StateRunning {
		m.t.Errorf("the container is %s; the daemon says:\n%s", got, m.log())
	}
}

func (m *machine) wantSuccess() {
	m.t.Helper()
	if got := m.property("backupd.service", "Result"); got != "success" {
		m.t.Errorf("the unit ended as %s; the daemon says:\n%s", got, m.log())
	}
}

// wantNothingLeft fails the test when a journal of a hold is left, or a process of the program.
func (m *machine) wantNothingLeft() {
	m.t.Helper()
	if left, _ := filepath.Glob(filepath.Join(m.dir, "disk/var/lib/backupd/holds/*.journal")); len(left) > 0 {
		m.t.Errorf("in the state directory lies %q", left)
	}
	if left, err := m.try("pgrep", "-ax", "backupd"); err == nil {
		m.t.Errorf("there runs %s", left)
	}
}
