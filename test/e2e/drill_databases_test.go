package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/testenv"
)

// keeper is a database of another kind than PostgreSQL, to which somebody writes numbers that count up.
type keeper struct {
	image func(d *testenv.Docker) string
	make  func(t *testing.T, d *testenv.Docker, dir string) // what has to be in the volume before it is started
	ready string                                            // what it prints when it answers; "" for nothing
	begin []string                                          // a command that makes it fit for writing; nil for none
	write string                                            // a line of a shell that writes the number $i, and fails if that is not done
	read  []string                                          // a command that prints the highest number

	checks []string // how each question begins
	spoilt map[string]spoilt
}

// spoilt is what is done to a volume, and what the drill says of it.
type spoilt struct {
	spoil func(t *testing.T, dir string)
	says  []string
}

var keepers = map[string]keeper{
	"redis": {
		image: (*testenv.Docker).RedisImage,
		ready: testenv.RedisReady,
		write: `redis-cli set n $i | head -n 1 | test "$(cat)" = OK`,
		read:  []string{"redis-cli", "--raw", "get", "n"},
		checks: []string{"redis-check-aof appendonlydir/appendonly.aof.manifest", "redis-cli --no-auth-warning PING",
			"redis-cli --no-auth-warning DBSIZE"},
		spoilt: map[string]spoilt{
			"a byte of the append-only file is flipped": {
				spoil: func(t *testing.T, dir string) {
					flip(t, filepath.Join(dir, "appendonlydir/appendonly.aof.1.incr.aof"), 30)
				},
				says: []string{"redis-check-aof", "is not valid"},
			},
			"a part of the append-only file is gone": {
				spoil: func(t *testing.T, dir string) {
					remove(t, filepath.Join(dir, "appendonlydir/appendonly.aof.1.incr.aof"))
				},
				says: []string{"redis-check-aof", "appendonly.aof.1.incr.aof"},
			},
		},
	},
	"mariadb": {
		image: (*testenv.Docker).MariaDBImage,
		make:  func(t *testing.T, d *testenv.Docker, dir string) { d.MariaDBData(dir) },
		ready: testenv.MariaDBReady,
		begin: []string{"mariadb", "-e", "create database app; create table app.t (n int primary key, words varchar(100), key (words)) engine=innodb"},
		write: `mariadb -e "insert into app.t values ($i, repeat('x$i', 10))"`,
		read:  []string{"mariadb", "-BNe", "select max(n) from app.t"},
		checks: []string{
			"mariadb-check --user=root --check --all-databases", "mariadb --user=root --batch",
		},
		spoilt: map[string]spoilt{
			"a page of a table is overwritten": {
				spoil: func(t *testing.T, dir string) { flip(t, filepath.Join(dir, "app/t.ibd"), 3*16384+200) },
				says:  []string{"app", "t", "corrupt"},
			},
			"a table's file is gone": {
				spoil: func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "app/t.ibd")) },
				says:  []string{"mariadb-check", "app.t"},
			},
		},
	},
	"sqlite": {
		image: (*testenv.Docker).SQLiteImage,
		begin: []string{"sqlite3", "/data/app.db", "pragma journal_mode=wal; create table t (n integer primary key, words text); create index w on t (words)"},
		write: `sqlite3 /data/app.db "insert into t values ($i, 'words $i')"`,
		read:  []string{"sqlite3", "/data/app.db", "select max(n) from t"},
		checks: []string{
			"PRAGMA integrity_check, PRAGMA foreign_key_check of app.db",
		},
		spoilt: map[string]spoilt{
			"a page is overwritten": {
				spoil: func(t *testing.T, dir string) { flip(t, filepath.Join(dir, "app.db"), 4096) },
				says:  []string{"integrity_check", "app.db"},
			},
		},
	},
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// start starts the database on a volume.
func (k keeper) start(t *testing.T, d *testenv.Docker, name, volume string) (id string) {
	t.Helper()
	id = d.Run(testenv.Container{Name: name, Config: container.Config{Image: k.image(d)}, HostConfig: container.HostConfig{Binds: []string{volume + ":/data"}}})
	if k.ready != "" {
		d.WaitLog(id, k.ready)
	}
	return id
}

// load writes numbers until stop, which gives the last one that was acknowledged.
func (k keeper) load(t *testing.T, d *testenv.Docker, id string) (acknowledged func() int, stop func()) {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		_, err := d.TryExec(id, "sh", "-c", "i=1; until test -e /tmp/enough; do "+k.write+" >/dev/null || exit 1; echo $i >/tmp/done.new && mv /tmp/done.new /tmp/done; i=$((i+1)); done")
		ended <- err
	}()
	acknowledged = func() int {
		text, err := d.TryExec(id, "cat", "/tmp/done")
		if err != nil {
			return 0
		}
		return highest(t, text)
	}
	eventually(t, "numbers are written", func() bool { return acknowledged() > 20 })
	return acknowledged, func() {
		d.Exec(id, "touch", "/tmp/enough")
		if err := <-ended; err != nil {
			t.Errorf("a number could not be written: %v", err)
		}
	}
}

func highest(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestADrillProvesEachDatabaseUnderLoad(t *testing.T) {
	for name, k := range keepers {
		t.Run(name, func(t *testing.T) {
			d := testenv.NewDocker(t)
			p := newProgram(t, d)
			data := k.volume(t, d)
			id := k.start(t, d, "db", data)
			if k.begin != nil {
				d.Exec(id, k.begin...)
			}
			acknowledged, stop := k.load(t, d, id)
			before := acknowledged()
			p.backup(0, data)
			after := acknowledged()
			eventually(t, "more numbers are written", func() bool { return acknowledged() > after+20 })
			stop()
			last := acknowledged()
			came := p.drill(0, data)
			if !came.Proven || !came.Stored || len(came.Started) != 1 {
				t.Errorf("it tells %+v", came)
			}
			wantChecks(t, came, k.checks...)
			p.wantNoDrills(d)
			wantRunning(t, d, id)
			t.Attr(name+"_drill", fmt.Sprintf("restored in %d ms, ready after another %d ms, %d ms in all", came.RestoreMS, came.ReadyMS, came.TookMS))

			restored := d.Volatile("restored")
			p.run(0, "restore", data, "--to-volume", restored)
			k.wantBack(t, d, k.start(t, d, "again", restored), before, after)
			p.run(0, "restore", data, "--in-place")
			k.wantBack(t, d, id, before, after)
			p.run(0, "undo", data)
			k.wantBack(t, d, id, last, last)
		})
	}
}

// wantBack fails the test unless the database, once it answers, has all numbers that were acknowledged before the backup, and none of those
// that were written later than another after it.
func (k keeper) wantBack(t *testing.T, d *testenv.Docker, id string, before, after int) {
	t.Helper()
	var text string
	eventually(t, "it answers", func() (answers bool) {
		var err error
		text, err = d.TryExec(id, k.read...)
		return err == nil
	})
	if n := highest(t, text); n < before || n > after+1 {
		t.Errorf("the highest number is %d; %d was acknowledged before the backup, and %d after it", n, before, after)
	}
}

func (k keeper) volume(t *testing.T, d *testenv.Docker) string {
	t.Helper()
	k.image(d) // or there is nothing to be done
	data := d.Volume("data", enrolled(), nil)
	if k.make != nil {
		k.make(t, d, folder(t, d, data))
	}
	return data
}

func TestADrillFindsWhatIsWrongWithEachDatabase(t *testing.T) {
	for name, k := range keepers {
		for what, s := range k.spoilt {
			t.Run(name+"/"+what, func(t *testing.T) {
				d := testenv.NewDocker(t)
				p := newProgram(t, d)
				data := k.volume(t, d)
				id := k.start(t, d, "db", data)
				if k.begin != nil {
					d.Exec(id, k.begin...)
				}
				_, stop := k.load(t, d, id)
				stop()
				timeout := 20
				if err := d.API.ContainerStop(t.Context(), id, container.StopOptions{Timeout: &timeout}); err != nil {
					t.Fatal(err)
				}
				s.spoil(t, folder(t, d, data))
				p.backup(0, data)
				came := p.drill(4, data)
				t.Log(came.Failed)
				for _, words := range s.says {
					if !strings.Contains(came.Failed, words) {
						t.Errorf("it does not say %q", words)
					}
				}
				if came.Proven || !came.Stored {
					t.Errorf("it tells %+v", came)
				}
				p.wantNoDrills(d)
			})
		}
	}
}

// A drill needs no folder of the engine's on this host: helpers restore, and this program's own image asks.
func TestADrillOnAnEngineElsewhere(t *testing.T) {
	testenv.Root(t)
	d := testenv.NewDocker(t)
	k := keepers["sqlite"]
	p := newProgram(t, d).elsewhere(d)
	data := k.volume(t, d)
	id := k.start(t, d, "db", data)
	d.Exec(id, k.begin...)
	p.backup(0, data)
	came := p.drill(0, data)
	wantChecks(t, came, k.checks...)
	p.wantNoDrills(d)
	noHelpers(t, d, data)
}
