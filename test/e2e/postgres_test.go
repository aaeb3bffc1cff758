package e2e

import (
	"os/exec"
	"testing"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/testenv"
)

// modes are the two ways of holding PostgreSQL still, and what each does to it.
var modes = []struct {
	quiesce string
	grade   string
	across  bool   // transactions go on across the backup
	start   string // what PostgreSQL says when it starts on what was restored
}{
	{quiesce: "pause", grade: "frozen", across: true, start: "automatic recovery in progress"},
	{quiesce: "stop", grade: "cold", start: "database system was shut down at"},
}

func TestDatabaseComesBackFromEveryTarget(t *testing.T) {
	server := s3test.Start(t)
	for _, mode := range modes {
		t.Run(mode.quiesce, func(t *testing.T) {
			d := testenv.NewDocker(t)
			p := newProgram(t, d).with("BACKUPD_QUIESCE", mode.quiesce)
			p = p.with("BACKUPD_TARGETS", p.localTarget()+",s3="+server.WithT(t).Bucket("database-"+mode.quiesce).String())
			volume := d.Volume("data", enrolled(), nil)
			db := newDatabase(t, d, "db", volume)

			stop := db.load()
			if !mode.across {
				if err := stop(); err != nil {
					t.Errorf("before the backup, a transaction failed: %v", err)
				}
			}
			before := db.transactions()
			started := inspect(t, d, db.id).State.StartedAt
			snapshot := p.backup(0, volume)[0].Snapshot
			wantRunning(t, d, db.id)
			if restarted := inspect(t, d, db.id).State.StartedAt != started; restarted == mode.across {
				t.Errorf("the container was started again: %v", restarted)
			}
			db.waitAnswer()
			if mode.across {
				if err := stop(); err != nil {
					t.Errorf("across the backup, a transaction failed: %v", err)
				}
			}
			after := db.transactions()
			db.check()

			if snapshot.Grade != mode.grade || snapshot.HeldMS <= 0 {
				t.Errorf("the snapshot is %s, held for %d ms", snapshot.Grade, snapshot.HeldMS)
			}
			t.Attr("postgres_held_by_"+mode.quiesce, milliseconds(snapshot.HeldMS))
			// Each is as the database was at some moment of the backup: all that was committed before it is there.
			wantBack := func(t *testing.T, volume string) {
				t.Helper()
				back := startDatabase(t, d, "back-of-"+volume, volume)
				back.logged(mode.start)
				back.check()
				if n := back.transactions(); n < before || n > after {
					t.Errorf("%d transactions are back; there were %d before the backup, and %d after it", n, before, after)
				}
				d.Remove(back.id)
			}
			for _, target := range []string{"local", "s3"} {
				t.Run(target, func(t *testing.T) {
					restored := d.Volatile("from-" + target)
					p.run(0, "restore", volume, "--to-volume", restored, "--from", target)
					wantBack(t, restored)
				})
			}
			t.Run("stock tar", func(t *testing.T) {
				testenv.Tool(t, "zstd")
				unpacked := d.Volume("unpacked", nil, nil)
				out, err := exec.Command("tar", "--zstd", "-xf", p.archive(snapshot), "-C", folder(t, d, unpacked)).CombinedOutput()
				if err != nil || len(out) > 0 {
					t.Fatalf("tar --zstd -xf: %v\n%s", err, out)
				}
				wantBack(t, unpacked)
			})
		})
	}
}
