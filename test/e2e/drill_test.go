package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"

	"github.com/backupd/backupd/internal/testenv"
)

// drilled is what drill tells of a volume.
type drilled struct {
	Volume    string
	Snapshot  string
	Failed    string
	Proven    bool
	Stored    bool
	Error     string
	Bytes     int64
	RestoreMS int64 `json:"restore_ms"`
	ReadyMS   int64 `json:"ready_ms"`
	TookMS    int64 `json:"took_ms"`
	Started   []string
	Checks    []struct{ Of, Asked, Answer, Failed string }
}

// drill tries a volume's snapshot out, and is to end with the exit code.
func (p *program) drill(code int, volume string, args ...string) drilled {
	p.t.Helper()
	var doc struct{ Drills []drilled }
	e := p.run(code, append([]string{"drill", "--json", volume}, args...)...)
	p.decode(e.out, &doc)
	if strings.Contains(e.complaints, "not removed") {
		p.t.Errorf("it says %s", e.complaints)
	}
	if len(doc.Drills) != 1 {
		p.t.Fatalf("of one volume it tells %s", e.out)
	}
	return doc.Drills[0]
}

// wantNoDrills fails the test when anything of the program's drills is left in the engine.
func (p *program) wantNoDrills(d *testenv.Docker) {
	p.t.Helper()
	if left := p.ofDrills(d); len(left) > 0 {
		p.t.Errorf("left behind: %q", left)
	}
}

// ofDrills are the containers and volumes that the program has made for drills. Others may be making some, too.
func (p *program) ofDrills(d *testenv.Docker) (names []string) {
	p.t.Helper()
	mark := "drill:" + p.owner()
	containers, err := d.API.ContainerList(p.t.Context(), container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", "backupd.helper="+mark))})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, c := range containers {
		names = append(names, c.Names...)
	}
	volumes, err := d.API.VolumeList(p.t.Context(), volume.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "backupd.scratch="+mark))})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, v := range volumes.Volumes {
		names = append(names, v.Name)
	}
	return names
}

// owner is the id that the program goes by, as its manifests have it.
func (p *program) owner() string {
	p.t.Helper()
	manifests, err := filepath.Glob(filepath.Join(p.local, host, "*", "*.json"))
	if err != nil || len(manifests) == 0 {
		p.t.Fatalf("there is no manifest (%v)", err)
	}
	text, err := os.ReadFile(manifests[0])
	if err != nil {
		p.t.Fatal(err)
	}
	var manifest struct{ Owner string }
	if p.decode(string(text), &manifest); manifest.Owner == "" {
		p.t.Fatalf("the manifest names no owner: %s", text)
	}
	return manifest.Owner
}

func TestADrillProvesADatabaseUnderLoad(t *testing.T) {
	d := testenv.NewDocker(t)
	p := newProgram(t, d)
	data := d.Volume("data", enrolled(), nil)
	db := newDatabase(t, d, "db", data)
	stop := db.load()
	p.backup(0, data)
	if err := stop(); err != nil {
		t.Error(err)
	}
	came := p.drill(0, data)
	if !came.Proven || !came.Stored || came.Failed != "" || came.Bytes == 0 || came.ReadyMS == 0 || len(came.Started) != 1 {
		t.Errorf("it tells %+v", came)
	}
	wantChecks(t, came, "pg_amcheck --all", "psql -Atc select")
	p.wantNoDrills(d)
	wantRunning(t, d, db.id)
	t.Attr("postgres_drill", fmt.Sprintf("restored in %d ms, ready after another %d ms, %d ms in all", came.RestoreMS, came.ReadyMS, came.TookMS))

	// The container that wrote to it is not needed, and neither is what is around it.
	d.Remove(db.id)
	if came := p.drill(0, data); !came.Proven {
		t.Errorf("without the container it tells %+v", came)
	}
}

func wantChecks(t *testing.T, came drilled, asked ...string) {
	t.Helper()
	if len(came.Checks) != len(asked) {
		t.Fatalf("it asked %+v, want %q", came.Checks, asked)
	}
	for i, c := range came.Checks {
		if !strings.HasPrefix(c.Asked, asked[i]) || c.Failed != "" || c.Answer == "" {
			t.Errorf("question %d: %+v, want %q answered", i+1, c, asked[i])
		}
	}
}

// spoilt is a database that was damaged behind its server's back before it was backed up.
func TestADrillFindsWhatIsWrongWithADatabase(t *testing.T) {
	const table = "pgbench_accounts"
	for name, c := range map[string]struct {
		spoil func(t *testing.T, file string)
		says  []string
	}{
		"a file is gone": {
			spoil: func(t *testing.T, file string) {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			},
			says: []string{"pg_amcheck", table, "could not open file"},
		},
		"a byte of a row's header is flipped": {
			// The first row of a page is its last, and ends some bytes before the page does; its header has where its data begins.
			spoil: func(t *testing.T, file string) { flip(t, file, 8192-128+22) },
			says:  []string{"pg_amcheck", table},
		},
		"the control file is overwritten": {
			spoil: func(t *testing.T, file string) {
				flip(t, filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(file))), "global/pg_control"), 20)
			},
			says: []string{"ended with exit code", "control file"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := testenv.NewDocker(t)
			p := newProgram(t, d)
			data := d.Volume("data", enrolled(), nil)
			db := newDatabase(t, d, "db", data)
			db.ask("checkpoint")
			relative := db.ask("select pg_relation_filepath('" + table + "')")
			timeout := 20
			if err := d.API.ContainerStop(t.Context(), db.id, container.StopOptions{Timeout: &timeout}); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, filepath.Join(folder(t, d, data), relative))
			p.backup(0, data)
			came := p.drill(4, data)
			for _, words := range c.says {
				if !strings.Contains(came.Failed, words) {
					t.Errorf("it does not say %q, but: %s", words, came.Failed)
				}
			}
			t.Log(came.Failed)
			if came.Proven || !came.Stored {
				t.Errorf("it tells %+v", came)
			}
			p.wantNoDrills(d)
		})
	}
}

// flip turns all bits of one byte of a file over.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var one [1]byte
	if _, err = f.ReadAt(one[:], at); err == nil {
		one[0] ^= 0xff
		_, err = f.WriteAt(one[:], at)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A copy that is taken of a database at work, without holding it, may lack what its control file says is there.
func TestADrillFindsThatACopyWasNotOfOneMoment(t *testing.T) {
	d := testenv.NewDocker(t)
	p := newProgram(t, d).with("BACKUPD_READ_LIMIT", "8MiB")
	data := d.Volume("data", map[string]string{"backupd.enable": "true", "backupd.quiesce": "none"}, nil)
	db := startDatabase(t, d, "db", data)
	// What takes some seconds to read, after the control file and before the log.
	if err := os.WriteFile(filepath.Join(folder(t, d, data), "pg_junk"), make([]byte, 32<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := d.TryExec(db.id, "sh", "-ec", `until [ -e /tmp/enough ]; do psql -qAtc "select pg_switch_wal() where txid_current() > 0" -c checkpoint >/dev/null; done`)
		ended <- err
	}()
	p.backup(0, data)
	d.Exec(db.id, "touch", "/tmp/enough")
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	came := p.drill(4, data)
	t.Log(came.Failed)
	if !strings.Contains(came.Failed, "checkpoint record") || !strings.Contains(came.Failed, "ended with exit code") {
		t.Errorf("it does not say what is wrong, but: %s", came.Failed)
	}
	p.wantNoDrills(d)
}

// TestAKilledDrillLeavesNothingForLong kills a drill as soon as it has made something, and has each of those who may remove it do so.
func TestAKilledDrillLeavesNothingForLong(t *testing.T) {
	d := testenv.NewDocker(t)
	p := newProgram(t, d)
	data := d.Volume("data", enrolled(), nil)
	db := newDatabase(t, d, "db", data)
	p.backup(0, data)
	for name, c := range map[string]struct {
		kinds  int // of things that are there when it is killed: the volume, and then a container
		remove func(t *testing.T, p *program)
	}{
		"by the next drill":           {2, func(_ *testing.T, p *program) { p.drill(0, data) }},
		"by recover":                  {2, func(_ *testing.T, p *program) { p.run(0, "recover") }},
		"by recover, while restoring": {1, func(_ *testing.T, p *program) { p.run(0, "recover") }},
		"by the daemon": {2, func(t *testing.T, p *program) {
			daemon := p.start("run")
			eventually(t, "nothing is left", func() bool { return len(p.ofDrills(d)) == 0 })
			daemon.signal(os.Interrupt)
			daemon.wait()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := *p
			p.t = t
			r := p.start("drill", data)
			eventually(t, "something was made", func() bool { return len(p.ofDrills(d)) >= c.kinds })
			r.signal(os.Kill)
			if e := r.wait(); e.code != -1 || len(p.ofDrills(d)) < c.kinds {
				t.Fatalf("it was not killed in the middle, but ended with exit code %d: %s", e.code, e.complaints)
			}
			c.remove(t, &p)
			p.wantNoDrills(d)
			wantRunning(t, d, db.id)
		})
	}
	t.Run("what lives is left alone", func(t *testing.T) {
		p := *p
		p.t = t
		r := p.start("drill", data)
		eventually(t, "something was made", func() bool { return len(p.ofDrills(d)) == 2 })
		p.run(0, "recover")
		if e := r.wait(); e.code != 0 {
			t.Errorf("the drill ended with exit code %d: %s%s", e.code, e.out, e.complaints)
		}
		p.wantNoDrills(d)
	})
}

// What the original had of its host and in its environment the drill has too, as long as the original is there; all the more with encryption.
func TestADrillHasWhatTheOriginalHas(t *testing.T) {
	d := testenv.NewDocker(t)
	_, p := newProgram(t, d).encrypting()
	conf := t.TempDir()
	if err := os.WriteFile(filepath.Join(conf, "pg.conf"), []byte("max_connections = 17\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	data := d.Volume("data", enrolled(), nil)
	db := d.Run(testenv.Container{
		Name: "db",
		Config: container.Config{
			Image: d.PostgresImage(), Cmd: []string{"/bin/sh", "/start", "-c", "config_file=/etc/pg/pg.conf"}, Env: []string{"TOKEN=s3cret"},
			// That often the original is asked whether it is well; nobody would wait as long for a drill.
			Healthcheck: &container.HealthConfig{Test: []string{"CMD-SHELL", "pg_isready"}, Interval: time.Hour},
			Labels:      map[string]string{"backupd.drill.exec": `test "$(psql -Atc 'show max_connections') $TOKEN" = "17 s3cret"`},
		},
		HostConfig: container.HostConfig{Binds: []string{data + ":/data", conf + ":/etc/pg:ro"}},
	})
	d.WaitLog(db, testenv.PostgresReady)
	p.backup(0, data)
	came := p.drill(0, data)
	if len(came.Checks) != 1 || came.Checks[0].Of != "command" || came.ReadyMS > time.Minute.Milliseconds() {
		t.Errorf("it tells %+v", came)
	}
	p.wantNoDrills(d)

	d.Remove(db)
	e := p.run(1, "drill", data)
	for _, words := range []string{"NOT TRIED", "/etc/pg", "environment variable TOKEN", "ended with exit code"} {
		if !strings.Contains(e.out, words) {
			t.Errorf("without the original it does not say %q, but: %s", words, e.out)
		}
	}
	p.wantNoDrills(d)
}
