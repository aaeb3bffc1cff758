package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/testenv"
)

// host is the name under which the program keeps snapshots here.
const host = "e2e"

// program is backupd with its settings: a state directory and a local target of its own, and a place where volumes live.
type program struct {
	t     *testing.T
	env   []string
	local string   // folder of the target "local"
	wrap  []string // command that runs the program, when it is not run as it is
}

// newProgram works on the private engine.
func newProgram(t *testing.T, d *testenv.Docker) *program {
	t.Helper()
	return bareProgram(t).with("DOCKER_HOST", d.Host)
}

// newDirProgram works on a folder, each folder in which is a volume.
func newDirProgram(t *testing.T, volumes string) *program {
	t.Helper()
	return bareProgram(t).with("BACKUPD_SOURCE", "dir").with("BACKUPD_VOLUMES_DIR", volumes)
}

func bareProgram(t *testing.T) *program {
	t.Helper()
	p := &program{t: t, local: t.TempDir()}
	for _, set := range os.Environ() {
		if !strings.HasPrefix(set, "BACKUPD_") && !strings.HasPrefix(set, "DOCKER_") {
			p.env = append(p.env, set)
		}
	}
	return p.with("BACKUPD_HOST", host).with("BACKUPD_STATE_DIR", t.TempDir()).with("BACKUPD_TARGETS", p.localTarget())
}

// with is the same program with one more setting.
func (p *program) with(name, value string) *program {
	c := *p
	c.env = append(slices.Clip(p.env), name+"="+value) // the last of a name counts
	return &c
}

// setting is the value of one.
func (p *program) setting(name string) (value string) {
	for _, set := range p.env {
		if v, found := strings.CutPrefix(set, name+"="); found {
			value = v
		}
	}
	return value
}

func (p *program) localTarget() string { return "local=file://" + p.local }

// run runs a command to its end, which is to have the exit code.
func (p *program) run(code int, args ...string) ended {
	p.t.Helper()
	e := p.start(args...).wait()
	if e.code != code {
		p.t.Fatalf("backupd %q ended with exit code %d, want %d; it says:\n%s%s", args, e.code, code, e.out, e.complaints)
	}
	return e
}

// process is the program at work.
type process struct {
	t          *testing.T
	cmd        *exec.Cmd
	out        bytes.Buffer
	complaints buffer
	result     chan ended
}

// ended is what a process left.
type ended struct {
	code       int
	out        string
	complaints string // what it printed to stderr
}

// start starts a command. It is killed with the test at the latest.
func (p *program) start(args ...string) *process {
	p.t.Helper()
	line := append(append(slices.Clip(p.wrap), binary(p.t)), args...)
	r := &process{t: p.t, cmd: exec.Command(line[0], line[1:]...), result: make(chan ended, 1)}
	r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr = p.env, &r.out, &r.complaints
	if err := r.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = r.cmd.Wait() // how it ended is in the state
		s := r.cmd.ProcessState
		r.result <- ended{code: s.ExitCode(), out: r.out.String(), complaints: r.complaints.String()}
	}()
	p.t.Cleanup(func() {
		_ = r.cmd.Process.Kill() // it has ended, as a rule
		<-over
	})
	return r
}

// wait waits for the end of the process.
func (r *process) wait() ended {
	r.t.Helper()
	return r.waitFor(10 * time.Minute)
}

// waitFor fails the test when the process does not end in time.
func (r *process) waitFor(limit time.Duration) ended {
	r.t.Helper()
	select {
	case e := <-r.result:
		return e
	case <-time.After(limit):
		r.t.Fatalf("backupd still runs after %s; it says:\n%s", limit, &r.complaints)
		return ended{}
	}
}

func (r *process) signal(s os.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// buffer is one that can be looked at while it is written.
type buffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// snapshot is one as list and backup tell of it.
type snapshot struct {
	ID     string
	Volume string
	Target string
	Taken  time.Time
	Bytes  int64
	Grade  string
	HeldMS int64 `json:"held_ms"`
	Good   bool
}

// list gives a volume's snapshots on all targets.
func (p *program) list(volume string) []snapshot {
	p.t.Helper()
	var doc struct{ Snapshots []snapshot }
	p.decode(p.run(0, "list", "--json", volume).out, &doc)
	return doc.Snapshots
}

// made is what backup tells of a volume.
type made struct {
	Volume   string
	Snapshot snapshot
	Targets  []struct {
		Name   string
		Stored bool
		Error  string
	}
	Error string
}

// backup backs volumes up, and is to end with the exit code.
func (p *program) backup(code int, volumes ...string) []made {
	p.t.Helper()
	var doc struct{ Backups []made }
	p.decode(p.run(code, append([]string{"backup", "--json"}, volumes...)...).out, &doc)
	return doc.Backups
}

func (p *program) decode(document string, into any) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(document), into); err != nil {
		p.t.Fatalf("%v in the answer %q", err, document)
	}
}

// archive is the path of a snapshot's archive on the local target.
func (p *program) archive(s snapshot) string {
	return filepath.Join(p.local, host, s.Volume, s.ID+".tar.zst")
}
