package e2e

import (
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/testenv"
)

// bounded is how long the program may take to let go of everything.
const bounded = 15 * time.Second

func TestSignalInTheMiddle(t *testing.T) {
	server := s3test.Start(t)
	for name, moment := range map[string]struct {
		limit string // of reading
		come  func(*middle) bool
		part  func(*http.Request)
		code  int
		kept  []string // targets that have the snapshot: nothing kept it from being whole there
	}{
		"of reading":                       {limit: "4MiB", come: (*middle).held, part: slowly, code: 1},
		"of sending":                       {limit: "1GiB", come: (*middle).sent, part: slowly, code: 3, kept: []string{"local"}},
		"of sending to a server that died": {limit: "1GiB", come: (*middle).sent, part: silently, code: 3, kept: []string{"local"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := testenv.NewDocker(t)
			bucket := strings.ReplaceAll(name, " ", "-")
			front, target := newFront(t, server.WithT(t), bucket, moment.part)
			p := newProgram(t, d).with("BACKUPD_READ_LIMIT", moment.limit)
			p = p.with("BACKUPD_TARGETS", p.localTarget()+",s3="+target.String())
			volume, id := appWithData(t, d, 64)

			r := p.start("backup", volume)
			m := &middle{t: t, docker: d, container: id, front: front, archives: filepath.Join(p.local, host, volume, "*.tar.zst")}
			eventually(t, "the backup is in the middle "+name, func() bool { return moment.come(m) })
			asked := time.Now()
			r.signal(syscall.SIGTERM)
			e := r.waitFor(bounded)
			t.Attr("let_go_in_the_middle_"+bucket, time.Since(asked).Round(time.Millisecond).String())

			if e.code != moment.code || !strings.Contains(e.complaints, "signal") {
				t.Errorf("exit code %d, and it says:\n%s", e.code, e.complaints)
			}
			wantRunning(t, d, id)
			p = p.with("BACKUPD_READ_LIMIT", "1GiB").with("BACKUPD_TARGETS", p.localTarget()+",s3="+server.URL(bucket).String())
			left := p.list(volume)
			if !slices.Equal(targets(left), moment.kept) {
				t.Errorf("snapshots are listed: %v", left)
			}
			for _, s := range left {
				p.run(0, "restore", s.Volume+"@"+s.ID, "--to-volume", d.Volatile("back"), "--from", s.Target)
			}
			server.WithT(t).WantNoUploads(bucket)
			wantNoRemains(t, p.local, left)
			p.backup(0, volume)
			if all := p.list(volume); len(all) != len(left)+2 {
				t.Errorf("after the next backup there are: %v", all)
			}
		})
	}
}

// middle is a backup to a local target and to one behind a front.
type middle struct {
	t         *testing.T
	docker    *testenv.Docker
	container string
	front     *front
	archives  string // pattern of those on the local target
}

func (m *middle) held() bool { return inspect(m.t, m.docker, m.container).State.Paused }

// sent tells whether the archive lies whole on one target and not yet on the other, and nothing is held. Before, a signal ends reading,
// though the container may run again.
func (m *middle) sent() bool {
	whole, err := filepath.Glob(m.archives)
	if err != nil {
		m.t.Fatal(err)
	}
	select {
	case <-m.front.held:
		return len(whole) > 0 && !m.held()
	default:
		return false
	}
}

// Somebody who does not want to wait for a server that answers no more need not.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	server := s3test.Start(t)
	d := testenv.NewDocker(t)
	front, target := newFront(t, server, "bucket", silently)
	p := newProgram(t, d).with("BACKUPD_TARGETS", "s3="+target.String())
	volume, id := appWithData(t, d, 64)

	r := p.start("backup", volume)
	<-front.held
	eventually(t, "the container runs", func() bool { return inspect(t, d, id).State.Status == container.StateRunning })
	r.signal(syscall.SIGTERM)
	eventually(t, "the first signal is answered", func() bool { return strings.Contains(r.complaints.String(), "once more") })
	asked := time.Now()
	r.signal(syscall.SIGTERM)
	if e := r.waitFor(bounded); e.code != 1 || time.Since(asked) > 2*time.Second {
		t.Errorf("exit code %d, %s after the second signal", e.code, time.Since(asked))
	}
	wantRunning(t, d, id)
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

func targets(snapshots []snapshot) (names []string) {
	for _, s := range snapshots {
		names = append(names, s.Target)
	}
	return names
}

// wantNoRemains fails the test when anything lies on the local target besides these snapshots.
func wantNoRemains(t *testing.T, dir string, snapshots []snapshot) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		id, _, _ := strings.Cut(filepath.Base(path), ".")
		listed := func(s snapshot) bool { return s.ID == id }
		if err == nil && !e.IsDir() && !slices.ContainsFunc(snapshots, listed) {
			t.Errorf("on the local target lies %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
