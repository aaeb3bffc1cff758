package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/testenv"
)

func TestRestoreInPlaceOfARunningDatabase(t *testing.T) {
	t.Parallel()
	d := testenv.NewDocker(t)
	p := newProgram(t, d)
	volume := d.Volume("data", enrolled(), nil)
	db := newDatabase(t, d, "db", volume)
	reader := d.Run(testenv.Container{
		Name:       "reader",
		Config:     container.Config{Image: d.ShellImage()},
		HostConfig: container.HostConfig{Binds: []string{volume + ":/data:ro"}},
	})
	db.work(100)
	p.backup(0, volume)
	db.work(50)
	db.ask("create table mistake as select generate_series(1, 100000)")
	put(t, d, volume, "mistake", "made after the snapshot")

	guest := d.Run(testenv.Container{
		Name:       "guest",
		Config:     container.Config{Image: d.ShellImage()},
		HostConfig: container.HostConfig{Binds: []string{volume + ":/data:ro"}, AutoRemove: true},
	})
	t.Run("is refused while a container runs that a stop would delete", func(t *testing.T) {
		before := runs(t, d, db.id, reader, guest)
		e := p.run(1, "restore", volume, "--in-place")
		if !strings.Contains(e.complaints, "guest") {
			t.Errorf("it does not name the container: %s", e.complaints)
		}
		if after := runs(t, d, db.id, reader, guest); after != before {
			t.Errorf("the containers are %s, and were %s", after, before)
		}
		if got := content(t, d, volume, "mistake"); got != "made after the snapshot" {
			t.Errorf("a file holds %q", got)
		}
	})
	d.Remove(guest)

	t.Run("replaces all there is", func(t *testing.T) {
		database, readers := runs(t, d, db.id), runs(t, d, reader)
		e := p.run(0, "restore", volume, "--in-place")
		wantRunning(t, d, db.id)
		wantRunning(t, d, reader)
		if runs(t, d, db.id) == database || runs(t, d, reader) == readers {
			t.Error("a container that mounts the volume was not started anew")
		}
		db.waitAnswer()
		db.check()
		if n, tables := db.transactions(), db.ask("select count(*) from pg_class where relname = 'mistake'"); n != 100 || tables != "0" {
			t.Errorf("there are %d transactions, 100 were before the snapshot; and %s tables that were not", n, tables)
		}
		if _, err := os.Stat(filepath.Join(folder(t, d, volume), "mistake")); !os.IsNotExist(err) {
			t.Errorf("a file is there that the snapshot does not have (%v)", err)
		}
		t.Attr("postgres_down_for_restore_in_place", downtime(t, e.out, "db"))
	})

	t.Run("and what was there comes back", func(t *testing.T) {
		p.run(0, "undo", volume)
		db.waitAnswer()
		db.check()
		if n, tables := db.transactions(), db.ask("select count(*) from pg_class where relname = 'mistake'"); n != 150 || tables != "1" {
			t.Errorf("there are %d transactions, and %s tables that were made by mistake", n, tables)
		}
		if got := content(t, d, volume, "mistake"); got != "made after the snapshot" {
			t.Errorf("a file holds %q", got)
		}
	})

	t.Run("until a backup is made", func(t *testing.T) {
		p.backup(0, volume)
		if left, err := filepath.Glob(filepath.Join(filepath.Dir(folder(t, d, volume)), "*")); len(left) != 1 || err != nil {
			t.Errorf("beside the volume's content lies %q (%v)", left, err)
		}
		p.run(1, "undo", volume)
	})
}

// runs tells which run of each container this is, and its state.
func runs(t *testing.T, d *testenv.Docker, ids ...string) string {
	t.Helper()
	var all []string
	for _, id := range ids {
		c := inspect(t, d, id)
		all = append(all, c.Name+" "+c.State.Status+" since "+c.State.StartedAt)
	}
	return strings.Join(all, ", ")
}

var down = regexp.MustCompile(`(?m)^container (\S+) was down for (\S+)$`)

// downtime is what a restore says about a container.
func downtime(t *testing.T, said, name string) string {
	t.Helper()
	for _, found := range down.FindAllStringSubmatch(said, -1) {
		if strings.HasSuffix(found[1], "-"+name) {
			if took, err := time.ParseDuration(found[2]); err != nil || took <= 0 {
				t.Errorf("container %s was down for %q", name, found[2])
			}
			return found[2]
		}
	}
	t.Errorf("nothing is said about container %s in %q", name, said)
	return ""
}

// As in an init service of a compose file, that runs before every start.
func TestRestoreIfEmptyFillsAFreshVolumeAlone(t *testing.T) {
	t.Parallel()
	d := testenv.NewDocker(t)
	p := newProgram(t, d)
	volume := d.Volume("data", enrolled(), nil)
	put(t, d, volume, "greeting", "hello")
	p.backup(0, volume)

	fresh := d.Volume("fresh", nil, nil)
	p.run(0, "restore", volume, "--to-volume", fresh, "--if-empty")
	if got := content(t, d, fresh, "greeting"); got != "hello" {
		t.Errorf("the fresh volume's file holds %q", got)
	}
	put(t, d, fresh, "greeting", "hello again")
	e := p.run(0, "restore", volume, "--to-volume", fresh, "--if-empty")
	if !strings.Contains(e.out, "left alone") {
		t.Errorf("it says %q", e.out)
	}
	if got := content(t, d, fresh, "greeting"); got != "hello again" {
		t.Errorf("the file of the volume in use holds %q", got)
	}
}
