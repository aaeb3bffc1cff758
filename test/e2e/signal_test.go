package e2e

import (
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/testenv"
)

// bounded is how long the program may take to let go of everything.
const bounded = 10 * time.Second

func TestSignalInTheMiddle(t *testing.T) {
	server := s3test.Start(t)
	for name, moment := range map[string]struct {
		limit string // of reading
		state string // of the container then
	}{
		"of reading": {limit: "4MiB", state: container.StatePaused},
		"of sending": {limit: "1GiB", state: container.StateRunning},
	} {
		t.Run(name, func(t *testing.T) {
			d := testenv.NewDocker(t)
			bucket := strings.ReplaceAll(name, " ", "-")
			front, target := newFront(t, server.WithT(t), bucket, isPart)
			p := newProgram(t, d).with("BACKUPD_READ_LIMIT", moment.limit)
			p = p.with("BACKUPD_TARGETS", p.localTarget()+",s3="+target.String())
			volume, id := appWithData(t, d, 64)

			r := p.start("backup", volume)
			if moment.state == container.StateRunning {
				<-front.hung
			}
			eventually(t, "the container is "+moment.state, func() bool { return inspect(t, d, id).State.Status == moment.state })
			asked := time.Now()
			r.signal(syscall.SIGTERM)
			e := r.waitFor(bounded)
			t.Attr("let_go_in_the_middle_"+bucket, time.Since(asked).Round(time.Millisecond).String())

			if e.code != 1 || !strings.Contains(e.complaints, "signal") {
				t.Errorf("exit code %d, and it says:\n%s", e.code, e.complaints)
			}
			wantRunning(t, d, id)
			if all := p.list(volume); len(all) != 0 {
				t.Errorf("snapshots are listed: %v", all)
			}
			server.WithT(t).WantNoUploads(bucket)
			wantNoRemains(t, p.local)
			// What was left does not keep the next run from succeeding.
			front.hangs = func(*http.Request) bool { return false }
			p.with("BACKUPD_READ_LIMIT", "1GiB").backup(0, volume)
			if all := p.list(volume); len(all) != 2 {
				t.Errorf("after the next backup there are: %v", all)
			}
		})
	}
}

// A server that answers nothing any more cannot hold up somebody who does not want to wait.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	server := s3test.Start(t)
	d := testenv.NewDocker(t)
	aborting := make(chan struct{}, 1)
	front, target := newFront(t, server, "bucket", func(r *http.Request) bool {
		if isAbort(r) {
			select {
			case aborting <- struct{}{}:
			default:
			}
		}
		return isPart(r) || isAbort(r)
	})
	p := newProgram(t, d).with("BACKUPD_TARGETS", "s3="+target.String())
	volume, id := appWithData(t, d, 64)

	r := p.start("backup", volume)
	<-front.hung
	r.signal(syscall.SIGTERM)
	<-aborting
	asked := time.Now()
	r.signal(syscall.SIGTERM)
	if e := r.waitFor(bounded); e.code != 1 || time.Since(asked) > time.Second {
		t.Errorf("exit code %d, %s after the second signal", e.code, time.Since(asked))
	}
	eventually(t, "the container runs", func() bool { return inspect(t, d, id).State.Status == container.StateRunning })
}

// appWithData is a container that runs on a volume with so many MiB in it.
func appWithData(t *testing.T, d *testenv.Docker, mib int) (volume, id string) {
	t.Helper()
	volume = d.Volume("data", enrolled(), nil)
	fill(t, filepath.Join(folder(t, d, volume), "ballast"), mib)
	return volume, d.Run(testenv.Container{
		Name:       "app",
		Config:     container.Config{Image: d.ShellImage()},
		HostConfig: container.HostConfig{Binds: []string{volume + ":/data"}},
	})
}

// wantNoRemains fails the test when anything lies on the local target that is not a whole object.
func wantNoRemains(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			t.Errorf("on the local target lies %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
