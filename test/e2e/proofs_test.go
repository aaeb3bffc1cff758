package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/testenv"
)

// proof is what list tells of drills of a snapshot.
type proof struct {
	ID, Target  string
	Good        bool
	Proven      string
	RecoveryMS  int64  `json:"recovery_ms"`
	DrillFailed string `json:"drill_failed"`
}

func (p *program) proofs(volume string) []proof {
	p.t.Helper()
	var doc struct{ Snapshots []proof }
	p.decode(p.run(0, "list", "--json", volume).out, &doc)
	return doc.Snapshots
}

// A schedule brings about a proof beside every copy, which list shows and retention keeps; data that does not pass fails, and counts no more.
func TestDrillsOnAScheduleLeaveProofsThatStay(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.Bucket("proofs")
	d := testenv.NewDocker(t)
	p := newProgram(t, d).with("BACKUPD_SCHEDULE", "@yearly").with("BACKUPD_RETENTION", "last=1")
	p = p.with("BACKUPD_TARGETS", p.localTarget()+",offsite="+bucket.String()).
		with("AWS_ACCESS_KEY_ID", s3test.AccessKey).with("AWS_SECRET_ACCESS_KEY", s3test.SecretKey)
	data := d.Volume("data", enrolled(), nil)
	put(t, d, data, "state", "well")
	id := d.Run(testenv.Container{
		Name: "app",
		Config: container.Config{Image: d.ShellImage(), Labels: map[string]string{
			"backupd.drill": "*/2 * * * * *", "backupd.drill.exec": "echo it is $(cat /data/state); grep -q well /data/state",
		}},
		HostConfig: container.HostConfig{Binds: []string{data + ":/data"}},
	})
	p.backup(0, data)
	first := p.proofs(data)[0].ID

	drilling(t, p, func() {
		eventually(t, "it is proven on both targets", func() bool {
			all := p.proofs(data)
			return len(all) == 2 && !slices.ContainsFunc(all, func(s proof) bool { return s.Proven == "" || s.RecoveryMS <= 0 })
		})
	})
	wantRunning(t, d, id)
	if e := p.run(0, "show", first); !strings.Contains(e.complaints, "PROVEN restorable") || !strings.Contains(e.complaints, "    it is well") {
		t.Errorf("show says:\n%s", e.complaints)
	}
	if found, err := filepath.Glob(filepath.Join(p.local, host, data, first+".drill-*-proven-*ms")); err != nil || len(found) == 0 {
		t.Errorf("beside the manifest lies no proof (%v)", err)
	}

	put(t, d, data, "state", "ill")
	p.backup(0, data)
	second := p.proofs(data)[2].ID
	drilling(t, p, func() {
		eventually(t, "it has failed", func() bool {
			return slices.ContainsFunc(p.proofs(data), func(s proof) bool { return s.ID == second && s.DrillFailed != "" && !s.Good })
		})
	})
	put(t, d, data, "state", "well again")
	p.backup(0, data)
	p.backup(0, data)
	var left []string
	for _, s := range p.proofs(data) {
		if s.Target == "offsite" {
			left = append(left, s.ID)
		}
	}
	if len(left) != 3 || left[0] != first || left[1] != second {
		t.Errorf("retention has left %v, and should leave the proven one, %s, the one that failed, %s, and the last", left, first, second)
	}
	listing := p.run(0, "list", data).out
	if !strings.Contains(listing, "data: last proven restorable") || !strings.Contains(listing, "FAILED") {
		t.Errorf("list says:\n%s", listing)
	}
	t.Log("\n" + listing)
}

// drilling runs a daemon meanwhile.
func drilling(t *testing.T, p *program, until func()) {
	t.Helper()
	daemon := p.start("run")
	defer func() {
		if t.Failed() {
			t.Log(daemon.complaints.String())
		}
	}()
	until()
	daemon.signal(syscall.SIGTERM)
	if e := daemon.waitFor(bounded); e.code != 0 {
		t.Errorf("the daemon ended with exit code %d", e.code)
	}
}

// What keeps a snapshot from being tried out says nothing about it, is told, and is forgotten once it was.
func TestADrillWithoutVerdictIsNoFailure(t *testing.T) {
	d := testenv.NewDocker(t)
	p := newProgram(t, d).with("BACKUPD_SCHEDULE", "@yearly").with("BACKUPD_DRILL", "*/2 * * * * *")
	env := filepath.Join(t.TempDir(), "app.env")
	data := d.Volume("data", enrolled(), nil)
	put(t, d, data, "state", "well")
	id := d.Run(testenv.Container{
		Name:       "app",
		Config:     container.Config{Image: d.ShellImage(), Env: []string{"MODE=fast"}, Labels: map[string]string{"backupd.drill.env-file": env}},
		HostConfig: container.HostConfig{Binds: []string{data + ":/data"}},
	})
	p.backup(0, data)
	d.Remove(id) // and the value of MODE with it
	drilling(t, p, func() {
		eventually(t, "the reason is told", func() bool { return strings.Contains(p.run(0, "volumes").out, "without verdict: ") })
	})
	if s := p.proofs(data)[0]; s.Proven != "" || s.DrillFailed != "" || !s.Good {
		t.Errorf("without a verdict it is %+v", s)
	}
	if e := p.run(0, "doctor"); !strings.Contains(e.out, "came to no verdict") {
		t.Errorf("doctor says:\n%s", e.out)
	}
	must(t, os.WriteFile(env, []byte("MODE=fast\n"), 0o600))
	if came := p.drill(0, data); !came.Proven || !came.Stored {
		t.Errorf("it tells %+v", came)
	}
	if out := p.run(0, "volumes").out; strings.Contains(out, "without verdict") || !strings.Contains(out, "next drill") {
		t.Errorf("volumes says:\n%s", out)
	}
}
