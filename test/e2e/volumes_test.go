package e2e

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"github.com/backupd/backupd/internal/testenv"
)

// countInBoth writes each number to a journal on one volume, and then to one on the other.
const countInBoth = `trap exit TERM; i=0; while :; do i=$((i+1)); echo $i >>/first/journal; echo $i >>/second/journal; done`

// Each volume takes a second to read, in which the container would count to thousands.
func TestVolumesOfOneContainerAreOfOneMoment(t *testing.T) {
	for _, quiesce := range []string{"pause", "stop"} {
		t.Run(quiesce, func(t *testing.T) {
			t.Parallel()
			d := testenv.NewDocker(t)
			p := newProgram(t, d).with("BACKUPD_READ_LIMIT", "4MiB").with("BACKUPD_QUIESCE", quiesce)
			first, second := d.Volume("first", enrolled(), nil), d.Volume("second", enrolled(), nil)
			for _, volume := range []string{first, second} {
				fill(t, filepath.Join(folder(t, d, volume), "ballast"), 4)
			}
			id := d.Run(testenv.Container{
				Name:       "writer",
				Config:     container.Config{Image: d.ShellImage(), Cmd: []string{"sh", "-c", countInBoth}},
				HostConfig: container.HostConfig{Binds: []string{first + ":/first", second + ":/second"}},
			})
			eventually(t, "the container counts", func() bool {
				_, err := d.TryExec(id, "sh", "-c", "test -s /second/journal")
				return err == nil
			})
			since := time.Now()
			results := p.backup(0, first, second)
			wantRunning(t, d, id)
			if n := count(t, d, id, quiesce, since); n != 1 {
				t.Errorf("the container was held %d times", n)
			}
			if !results[0].Snapshot.Taken.Equal(results[1].Snapshot.Taken) {
				t.Errorf("the snapshots are of %s and %s", results[0].Snapshot.Taken, results[1].Snapshot.Taken)
			}
			var reached []int
			for _, volume := range []string{first, second} {
				back := d.Volatile("back-of-" + volume)
				p.run(0, "restore", volume, "--to-volume", back)
				reached = append(reached, lastNumber(t, filepath.Join(folder(t, d, back), "journal")))
			}
			if ahead := reached[0] - reached[1]; ahead != 0 && ahead != 1 {
				t.Errorf("the first volume is of when the container had reached %d, the second of %d", reached[0], reached[1])
			}
			t.Attr("two_volumes_held_by_"+quiesce, milliseconds(results[0].Snapshot.HeldMS))
		})
	}
}

// count tells how often something happened to a container.
func count(t *testing.T, d *testenv.Docker, id, action string, since time.Time) (n int) {
	t.Helper()
	seen, failed := d.API.Events(t.Context(), events.ListOptions{
		Since: stamp(since), Until: stamp(time.Now()),
		Filters: filters.NewArgs(filters.Arg("container", id), filters.Arg("event", action)),
	})
	for {
		select {
		case <-seen:
			n++
		case <-failed: // io.EOF
			return n + len(seen)
		}
	}
}

func stamp(t time.Time) string { return t.Format(time.RFC3339Nano) }

// lastNumber is the last line of a journal, which must be whole and follow on all before it. A journal may be large, and the memory of this
// process counts as that of the programs that it starts, so it is read a line at a time.
func lastNumber(t *testing.T, path string) (n int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // only read
	for lines := bufio.NewReader(f); ; n++ {
		line, err := lines.ReadString('\n')
		switch {
		case err == io.EOF && line == "":
			return n
		case err == io.EOF:
			t.Fatal("the journal ends within a line")
		case err != nil:
			t.Fatal(err)
		case line != strconv.Itoa(n+1)+"\n":
			t.Fatalf("line %d of the journal is %q", n+1, line)
		}
	}
}

// An operator, or a tool that updates containers, does not know of backups.
func TestContainerRecreatedMeanwhile(t *testing.T) {
	for quiesce, state := range map[string]string{"pause": container.StatePaused, "stop": container.StateExited} {
		t.Run(quiesce, func(t *testing.T) {
			t.Parallel()
			d := testenv.NewDocker(t)
			volume := d.Volume("data", enrolled(), nil)
			fill(t, filepath.Join(folder(t, d, volume), "ballast"), 24)
			app := testenv.Container{
				Name:       "app",
				Config:     container.Config{Image: d.ShellImage()},
				HostConfig: container.HostConfig{Binds: []string{volume + ":/data"}},
			}
			old := d.Run(app)
			p := newProgram(t, d).with("BACKUPD_QUIESCE", quiesce)

			slow := p.with("BACKUPD_READ_LIMIT", "4MiB").start("backup", volume)
			eventually(t, "the container is held", func() bool { return inspect(t, d, old).State.Status == state })
			d.Remove(old)
			anew := d.Run(app)
			e := slow.wait()
			if e.code != 1 || !strings.Contains(e.complaints, "no longer held still") {
				t.Errorf("exit code %d, and it says:\n%s", e.code, e.complaints)
			}
			wantRunning(t, d, anew)
			for _, s := range p.list(volume) {
				if s.Good {
					t.Errorf("snapshot %s counts as %s", s.ID, s.Grade)
				}
			}
			if again := p.backup(0, volume)[0].Snapshot; !again.Good {
				t.Errorf("the next snapshot is %s and does not count", again.Grade)
			}
			wantRunning(t, d, anew)
		})
	}
}
