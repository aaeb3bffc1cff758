package drill_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/drill"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/enginetest"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/recognise"
	"github.com/backupd/backupd/internal/snapshot"
)

// world is an engine with a database that runs, and a snapshot of its volume.
type world struct {
	eng      *enginetest.Fake
	db       engine.Container
	database enginetest.Container // that it is
	runner   *drill.Runner
	request  drill.Request
	source   *source
	server   server
	requests []engine.Trial // for containers
	bound    int64          // size of a file of its host's that the database has; 0 for none
}

// bind gives the database a file of its host.
func (w *world) bind() {
	if w.bound == 0 {
		return
	}
	w.source.facts.Containers[0].Run.Elsewhere = []string{"/etc/db.conf"}
	c := w.database
	c.Mounts = append(c.Mounts, engine.Mount{Source: "/srv/db.conf", Destination: "/etc/db.conf"})
	c.Files = map[string]int64{"/etc/db.conf": w.bound}
	w.eng.RemoveContainer(w.db.ID)
	w.db = w.eng.AddContainer(c)
}

// source is a snapshot that is restored by writing a file.
type source struct {
	w         *world
	facts     snapshot.Restore
	databases []recognise.Find
	err       error // of restoring
}

func (s *source) Facts(snapshot.Manifest) (snapshot.Restore, error) { return s.facts, nil }

func (s *source) Databases(context.Context, snapshot.Manifest) ([]recognise.Find, error) {
	return s.databases, nil
}

func (s *source) Hold(context.Context, snapshot.Manifest) (func() error, error) {
	return func() error { return nil }, nil
}

func (s *source) ToVolume(ctx context.Context, _ snapshot.Manifest, name string) (int64, error) {
	v, err := s.w.eng.Volume(ctx, name)
	if err == nil {
		err = os.WriteFile(filepath.Join(v.Mountpoint, "PG_VERSION"), []byte("15\n"), 0o600)
	}
	return 3, errors.Join(err, s.err)
}

// server is what the container of a drill does.
type server struct {
	ends     *engine.Ending // at once
	starting atomic.Int64   // questions that it does not answer yet
	says     map[string]string
	exits    map[string]int
	lacks    []string // programs
	log      string
	health   string
}

// SQLite is a container that ends at once.
func (s *server) SQLite(context.Context, string) (engine.Trial, error) {
	return engine.Trial{Image: "sha256:image", Setup: engine.Setup{Entrypoint: []string{"ask-sqlite"}}}, nil
}

func (s *server) trial(t engine.Trial) enginetest.Container {
	if len(t.Entrypoint) > 0 { // of a checker
		return enginetest.Container{Log: s.says[t.Entrypoint[0]], OnStart: func(c *engine.Container) {
			c.State, c.Ending = engine.Exited, engine.Ending{Exit: s.exits[t.Entrypoint[0]]}
		}}
	}
	c := enginetest.Container{Exec: s.exec, Log: s.log, Container: engine.Container{Health: s.health}}
	if s.ends != nil {
		c.OnStart = func(c *engine.Container) { c.State, c.Ending = engine.Exited, *s.ends }
	}
	return c
}

func (s *server) exec(_ context.Context, cmd engine.Command) int {
	program := filepath.Base(cmd.Args[0])
	switch {
	case slices.Contains(s.lacks, program):
		return 127
	case program == "cat":
		io.WriteString(cmd.Stdout, "1\n/data\n1\n5433\n/tmp\n\n1\nready\n")
		return 0
	case slices.Contains(cmd.Args, "select 1") && s.starting.Add(-1) >= 0:
		io.WriteString(cmd.Stderr, "the database system is starting up\n")
		return 2
	case slices.Contains(cmd.Args, "--version"):
		return 0
	}
	io.WriteString(cmd.Stdout, s.says[program])
	return s.exits[program]
}

const digest = "registry.example/db@sha256:1111111111111111111111111111111111111111111111111111111111111111"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{eng: enginetest.New(t)}
	w.eng.AddImage(engine.Image{ID: "sha256:image", Digests: []string{digest}, Env: []string{"PATH=/bin", "LANG=C"}})
	w.eng.Trial = func(tr engine.Trial) enginetest.Container {
		w.requests = append(w.requests, tr)
		return w.server.trial(tr)
	}
	v := w.eng.AddVolume(engine.Volume{Name: "app"})
	w.database = enginetest.Container{
		Container: engine.Container{Name: "db", ImageID: "sha256:image", Mounts: []engine.Mount{{Volume: v.Name, Destination: "/data"}}},
		Setup:     engine.Setup{Command: []string{"postgres", "--token=abc"}, Env: []string{"PATH=/bin", "LANG=de", "SECRET=s3cret"}},
	}
	w.db = w.eng.AddContainer(w.database)
	w.source = &source{w: w, databases: []recognise.Find{{Kind: recognise.PostgreSQL, Folder: ".", Version: "15"}}, facts: snapshot.Restore{
		Containers: []snapshot.Container{recorded()},
	}}
	w.runner = &drill.Runner{
		Engine: w.eng, Dir: filepath.Join(t.TempDir(), "drills"), Owner: "me", Program: "test", Now: time.Now, Entropy: rand.Reader,
		ReadFile: os.ReadFile, Log: slog.New(slog.DiscardHandler),
	}
	w.runner.Checker = &w.server
	w.request = drill.Request{
		Snapshot: snapshot.Manifest{
			ID: "20261123T030000Z-5f0c2a9e", Host: "web1", Volume: "app", Contents: snapshot.Contents{Entries: 7},
		},
		From: w.source, Settings: drill.Settings{Timeout: drill.DefaultTimeout, Memory: drill.DefaultMemory},
	}
	return w
}

func recorded() snapshot.Container {
	return snapshot.Container{Name: "db", Image: "db:15", ImageID: "sha256:image", Run: &snapshot.Run{
		Digests: []string{digest}, Destination: "/data", Active: true, Command: []string{"postgres", "--token=" + snapshot.Withheld},
		Environment: []string{"LANG", "PATH", "SECRET"},
	}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// left gives what drills have left in the engine.
func (w *world) left(t *testing.T) (names []string) {
	t.Helper()
	eng := w.eng.Operator()
	containers, err := eng.Containers(context.WithoutCancel(t.Context()))
	must(t, err)
	for _, c := range containers {
		if c.ID != w.db.ID {
			names = append(names, c.Name)
		}
	}
	volumes, err := eng.Volumes(context.WithoutCancel(t.Context()))
	must(t, err)
	for _, v := range volumes {
		if v.Name != "app" {
			names = append(names, v.Name)
		}
	}
	return names
}

func TestADrillStartsWhatWasRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.server.starting.Store(3)
		w.server.says = map[string]string{"psql": "3 databases\n"}
		came, err := w.runner.Drill(t.Context(), w.request)
		must(t, err)
		if !came.Proven() || came.Bytes != 3 || came.ReadyMS == 0 || came.TookMS < came.ReadyMS || !slices.Equal(came.Started, []string{"db"}) || len(came.Checks) != 2 {
			t.Errorf("it tells %+v", came)
		}
		if len(w.requests) != 1 {
			t.Fatalf("made: %+v", w.requests)
		}
		made := w.requests[0]
		if !slices.Equal(made.Command, []string{"postgres", "--token=abc"}) || made.At != "/data" || made.Image != "sha256:image" ||
			!slices.Equal(made.Env, []string{"LANG=de", "PATH=/bin", "SECRET=s3cret"}) || made.Memory != drill.DefaultMemory || made.PIDs == 0 {
			t.Errorf("started with %+v", made)
		}
		if left := w.left(t); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})
}

// TestEveryFault drills once for each call of the engine and each way in which it can fail. No fault of the engine's is taken for one of the data,
// what runs is left alone, and once the engine answers again nothing of the drill is left.
func TestEveryFault(t *testing.T) {
	for _, kind := range faulttest.Kinds {
		t.Run(kind.String(), func(t *testing.T) {
			for at, more := 1, true; more; at++ {
				synctest.Test(t, func(t *testing.T) { more = faulty(t, at, kind) })
			}
		})
	}
}

// faulty drills with one fault, and tells whether there was a call for it.
func faulty(t *testing.T, at int, kind faulttest.Kind) bool {
	w := newWorld(t)
	w.source.databases = append(w.source.databases, recognise.Find{Kind: recognise.SQLite, Folder: ".", File: "a.db"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	faults := &faulttest.Injector{At: at, Kind: kind, Cancel: cancel}
	w.eng.Faults = faults
	came, err := w.runner.Drill(ctx, w.request)
	w.eng.Faults = nil
	calls := faults.Calls()
	if at > len(calls) {
		must(t, err)
		t.Logf("%d calls", len(calls))
		return false
	}
	where := fmt.Sprintf("call %d, %s, failed %v", at, calls[at-1], kind)
	if came.Failed != "" || err == nil && len(came.Checks) != 3 {
		t.Errorf("%s: it tells %+v", where, came)
	}
	pending, lookErr := drill.Pending(w.runner.Dir)
	must(t, lookErr)
	if left := w.left(t); len(left) > 0 && !pending {
		t.Errorf("%s: nobody knows of %q", where, left)
	}
	must(t, w.runner.Sweep(t.Context()))
	if left := w.left(t); len(left) > 0 {
		t.Errorf("%s: left behind: %q", where, left)
	}
	if c, err := w.eng.Container(t.Context(), w.db.ID); err != nil || c.State != engine.Running {
		t.Errorf("%s: the database is %s (%v)", where, c.State, err)
	}
	return true
}

func TestVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		around func(*world)
		failed string // the verdict has these words; "" for a proof, or for none
		err    string // why there is none has these
	}{
		"all is well":            {},
		"the archive is damaged": {around: func(w *world) { w.source.err = fmt.Errorf("frame 3: %w", archive.ErrDamaged) }, failed: "cannot be restored: frame 3"},
		"the target is down":     {around: func(w *world) { w.source.err = errors.New("no route") }, err: "no route"},
		"the server ends": {
			around: func(w *world) { w.server.ends, w.server.log = &engine.Ending{Exit: 1}, "one\nFATAL: bad page\n" },
			failed: `container "db" ended with exit code 1, and says: one | FATAL: bad page`,
		},
		"the server ends for want of memory": {
			around: func(w *world) { w.server.ends = &engine.Ending{Exit: 137, OutOfMemory: true} }, err: "more than the 1024 MiB",
		},
		"the server ends without what it had": {
			around: func(w *world) {
				w.server.ends = &engine.Ending{Exit: 1}
				w.source.facts.Containers[0].Run.Elsewhere = []string{"/etc/db.conf"}
			},
			err: "it lacked what was mounted at /etc/db.conf",
		},
		"the server ends with a file of its host": {
			around: func(w *world) { w.server.ends, w.bound = &engine.Ending{Exit: 1}, 100 }, failed: "ended with exit code 1",
		},
		"the server ends without a file that is too large": {
			around: func(w *world) { w.server.ends, w.bound = &engine.Ending{Exit: 1}, 1<<30 }, err: "it lacked what was mounted at /etc/db.conf",
		},
		"a server ends for want of its network": {
			around: func(w *world) {
				w.server.ends, w.server.log = &engine.Ending{Exit: 1}, "could not translate host name \"other\"\n"
			},
			err: "it had no network",
		},
		"nothing ran on files": {around: func(w *world) {
			w.source.databases, w.source.facts.Containers[0].Run.Active, w.server.ends = nil, false, &engine.Ending{}
		}},
		"nothing ran on a database": {around: func(w *world) { w.source.facts.Containers[0].Run.Active = false }},
		"another server ends": {
			around: func(w *world) {
				w.server.ends, w.source.databases = &engine.Ending{Exit: 14}, []recognise.Find{{Kind: recognise.MongoDB, Folder: "."}}
			},
			failed: "ended with exit code 14",
		},
		"another server runs": {around: func(w *world) { w.source.databases = []recognise.Find{{Kind: recognise.MongoDB, Folder: "."}} }},
		"an app ends that is asked by a command": {
			around: func(w *world) {
				w.server.ends, w.source.databases, w.request.Exec = &engine.Ending{Exit: 1}, nil, []string{"ask"}
			},
			err: "ended with exit code 1",
		},
		"an app with a sound SQLite file ends": {
			around: func(w *world) {
				w.server.ends, w.source.databases = &engine.Ending{Exit: 1}, []recognise.Find{{Kind: recognise.SQLite, Folder: ".", File: "a.db"}}
			},
		},
		"a SQLite file is damaged": {
			around: func(w *world) {
				w.source.databases = []recognise.Find{{Kind: recognise.SQLite, Folder: "sub", File: "a.db"}}
				w.server.exits, w.server.says = map[string]int{"ask-sqlite": drill.Damaged}, map[string]string{"ask-sqlite": "row 7 is missing\n"}
			},
			failed: "of sub/a.db: row 7 is missing",
		},
		"a SQLite file cannot be asked": {
			around: func(w *world) {
				w.source.databases = []recognise.Find{{Kind: recognise.SQLite, Folder: ".", File: "a.db"}}
				w.server.exits, w.server.says = map[string]int{"ask-sqlite": 1}, map[string]string{"ask-sqlite": "no such module\n"}
			},
			err: "SQLite file a.db cannot be asked: no such module",
		},
		"a SQLite file without a container": {around: func(w *world) {
			w.source.facts.Containers, w.source.databases = nil, []recognise.Find{{Kind: recognise.SQLite, Folder: ".", File: "a.db"}}
		}},
		"an append-only file is damaged": {
			around: func(w *world) {
				w.source.databases = []recognise.Find{{Kind: recognise.Redis, Folder: ".", File: "appendonly.aof"}}
				w.server.exits, w.server.says = map[string]int{"redis-check-aof": 1}, map[string]string{"redis-check-aof": "not valid\n"}
			},
			failed: "redis-check-aof appendonly.aof: exit code 1: not valid",
		},
		"Redis keeps its password to itself": {around: func(w *world) {
			w.source.databases = []recognise.Find{{Kind: recognise.Redis, Folder: ".", File: "dump.rdb"}}
			w.server.says = map[string]string{"redis-cli": "NOAUTH Authentication required.\n"}
		}},
		"MariaDB has a corrupt table": {
			around: func(w *world) {
				w.source.databases = []recognise.Find{{Kind: recognise.MariaDB, Folder: "."}}
				w.server.says = map[string]string{"mariadb-check": "a.s OK\na.t\nerror : Corrupt\n"}
			},
			failed: "a.t | error : Corrupt",
		},
		"an app ends that is no database": {
			around: func(w *world) { w.server.ends, w.source.databases = &engine.Ending{Exit: 1}, nil },
		},
		"an app runs that is no database": {around: func(w *world) { w.source.databases = nil }},
		"the server never answers": {
			around: func(w *world) {
				w.server.log = "redo starts\n"
				w.server.starting.Store(1e9)
			},
			err: "was not well yet: it does not answer: the database system is starting up, and says: redo starts",
		},
		"it is never healthy": {
			around: func(w *world) {
				w.server.health, w.source.facts.Containers[0].Run.Health = "unhealthy", &snapshot.Health{Test: []string{"CMD", "true"}}
			},
			err: "its health check says unhealthy",
		},
		"the checker complains": {
			around: func(w *world) {
				w.server.exits, w.server.says = map[string]int{"pg_amcheck": 2}, map[string]string{"pg_amcheck": "heap table \"t\":\n  bad\n"}
			},
			failed: `heap table "t": | bad`,
		},
		"there is no checker, and a row cannot be read": {
			around: func(w *world) {
				w.server.lacks, w.server.exits = []string{"pg_amcheck"}, map[string]int{"pg_dumpall": 1}
			},
			failed: "pg_dumpall --file=/dev/null (reads all rows",
		},
		"there is no checker": {around: func(w *world) { w.server.lacks = []string{"pg_amcheck"} }},
		"the server lets nobody in": {
			around: func(w *world) {
				w.server.exits = map[string]int{"psql": 2}
				w.server.says = map[string]string{"psql": "FATAL:  password authentication failed for user \"postgres\"\n"}
			},
			err: "does not let anybody in who is known here",
		},
		"there is no client": {around: func(w *world) { w.server.lacks = []string{"psql"} }, err: "no psql"},
		"the command is content": {around: func(w *world) {
			w.request.Exec, w.server.lacks = []string{"ask"}, []string{"psql"}
		}},
		"the command is not": {
			around: func(w *world) {
				w.request.Exec, w.server.exits = []string{"ask", "--password=x"}, map[string]int{"ask": 3}
			},
			failed: "command: backupd.drill.exec: exit code 3",
		},
		"the image is not here": {
			around: func(w *world) {
				w.source.facts.Containers[0].ImageID, w.source.facts.Containers[0].Run.Digests = "sha256:other", []string{digest + "2"}
			},
			err: "docker pull " + digest + "2",
		},
		"the image has another id here": {around: func(w *world) { w.source.facts.Containers[0].ImageID = "sha256:other" }},
		"no container holds the credential": {
			around: func(w *world) { w.eng.RemoveContainer(w.db.ID) }, err: `no container "db" runs here today`,
		},
		"an earlier backupd made it": {around: func(w *world) { w.source.facts.Containers[0].Run = nil }, err: "back it up once more"},
		"nothing wrote to it":        {around: func(w *world) { w.source.facts.Containers[0].Run.ReadOnly = true }, err: "holds data of postgresql"},
		"nothing is on it at all":    {around: func(w *world) { w.source.facts.Containers, w.source.databases = nil, nil }},
		"it is empty":                {around: func(w *world) { w.request.Snapshot.Contents.Entries = 1 }, err: "it holds nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				if c.around != nil {
					c.around(w)
					w.bind()
				}
				came, err := w.runner.Drill(t.Context(), w.request)
				if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Errorf("error is %v, want %q", err, c.err)
				}
				if (came.Failed != "") != (c.failed != "") || !strings.Contains(came.Failed, c.failed) {
					t.Errorf("verdict is %q, want %q", came.Failed, c.failed)
				}
				if err == nil && len(came.Checks) == 0 && came.Failed == "" {
					t.Errorf("a proof without any check: %+v", came)
				}
				if left := w.left(t); len(left) > 0 {
					t.Errorf("left behind: %q", left)
				}
			})
		})
	}
}

func TestTheFileOfVariablesFillsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.eng.RemoveContainer(w.db.ID)
		w.source.facts.Containers[0].Run.Command = []string{"postgres"}
		w.request.EnvFile = filepath.Join(t.TempDir(), "env")
		must(t, os.WriteFile(w.request.EnvFile, []byte("# secrets\n\nSECRET=a=b c\nOTHER=x\n"), 0o600))
		_, err := w.runner.Drill(t.Context(), w.request)
		must(t, err)
		if got := w.requests[0].Env; !slices.Equal(got, []string{"SECRET=a=b c"}) {
			t.Errorf("started with %q", got)
		}
		must(t, os.WriteFile(w.request.EnvFile, []byte("s3cret\n"), 0o600))
		if _, err = w.runner.Drill(t.Context(), w.request); err == nil || !strings.Contains(err.Error(), "line 1") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("of a file that is none: %v", err)
		}
	})
}

func TestWhatLivesIsNotSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.server.starting.Store(1e9)
		ended := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_, err := w.runner.Drill(ctx, w.request)
			ended <- err
		}()
		time.Sleep(time.Minute) // of the bubble's clock
		before := w.left(t)
		must(t, w.runner.Sweep(t.Context()))
		if after := w.left(t); len(before) != 2 || !slices.Equal(before, after) {
			t.Errorf("there were %q, and are %q", before, after)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
		if left := w.left(t); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})
}
