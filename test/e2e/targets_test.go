package e2e

import (
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/testenv"
)

func TestOneTargetFailsBesideAGoodOne(t *testing.T) {
	server := s3test.Start(t)
	d := testenv.NewDocker(t)
	p := newProgram(t, d)
	p = p.with("BACKUPD_TARGETS", p.localTarget()+",offsite="+server.URL("no-such-bucket").String())
	volume := d.Volume("data", enrolled(), nil)
	put(t, d, volume, "greeting", "hello")

	e := p.run(3, "backup", volume)
	if !strings.Contains(e.complaints, "target offsite") || !strings.Contains(e.complaints, "no-such-bucket") {
		t.Errorf("it does not name the target and what is wrong with it: %s", e.complaints)
	}
	p = p.with("BACKUPD_TARGETS", p.localTarget())
	if all := p.list(volume); len(all) != 1 || !all[0].Good {
		t.Errorf("on the good target there are: %v", all)
	}
}
