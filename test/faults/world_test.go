package faults_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/access"
	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/backup"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/enginetest"
	jobs "github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/retention"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/local"
	"github.com/backupd/backupd/internal/targets/s3"
	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/targets/sftp"
	"github.com/backupd/backupd/internal/targets/sftp/sftptest"
	"github.com/backupd/backupd/internal/testenv"
)

// scene is the servers.
type scene struct {
	s3   *s3test.Server
	sftp *sftptest.Server
}

// kind is what a world backs up to.
type kind struct {
	sftp   bool // else S3
	beside bool // a disk, too
	any    bool // one target is enough
}

var kinds = []kind{{}, {beside: true}, {beside: true, any: true}, {}, {sftp: true}, {beside: true, sftp: true}}

// keep is how many snapshots retention leaves.
const keep = 2

// world is an engine with a container, and targets.
type world struct {
	kind
	eng    *enginetest.Fake
	volume jobs.Volume
	runner *backup.Runner
	clock  time.Time

	wild, honest map[string]backup.Target // the same ones, through what fails and past it
	wire         *testenv.Wire
	front        *s3test.Front  // nil without S3
	server       *s3test.Server // that fails this test
	bucket       string

	data     []byte                          // of the volume now
	contents map[snapshot.ID][]byte          // that each snapshot is of
	called   map[string]map[snapshot.ID]bool // good, by target
	told     []string                        // what failed
	good     int
	removed  int
}

func (s scene) world(t *testing.T, k kind) *world {
	t.Helper()
	w := &world{
		kind: k, eng: enginetest.New(t), clock: time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC),
		wild: map[string]backup.Target{}, honest: map[string]backup.Target{},
		contents: map[snapshot.ID][]byte{}, called: map[string]map[snapshot.ID]bool{},
	}
	now := func() time.Time { return w.clock }
	w.runner = &backup.Runner{
		Identity:  backup.Identity{Host: "web1", Owner: "owner", Program: "test"},
		Keeper:    quiesce.New(w.eng, quiesce.Options{Dir: t.TempDir(), Now: time.Now}),
		Access:    access.New(w.eng, access.Options{Owner: "owner", Lock: filepath.Join(t.TempDir(), "lock"), Entropy: rand.Reader}),
		Locks:     catalog.Locks{Dir: t.TempDir()},
		Spool:     backup.Spool{Dir: t.TempDir(), Limit: 16 << 20},
		Archive:   archive.Options{Level: archive.Fastest, Workers: 1, Scratch: t.TempDir()},
		Pruner:    backup.Pruner{Owner: "owner", Now: now, Zone: time.UTC},
		Now:       now,
		Entropy:   rand.Reader,
		Log:       slog.New(slog.DiscardHandler),
		AnyTarget: k.any,
		Accept:    true, // of how much what it holds changes at random
	}
	v := w.eng.AddVolume(engine.Volume{Name: "app", Driver: "local"})
	c := w.eng.AddContainer(enginetest.Container{Container: engine.Container{Name: "db", Mounts: []engine.Mount{{Volume: "app", Destination: "/data"}}}})
	w.volume = jobs.Volume{Volume: v, Containers: []engine.Container{c}}
	w.volume.Retention.Value, w.volume.Quiesce.Value, w.volume.Limit.Value = retention.Policy{Last: keep}, quiesce.Pause, 5*time.Minute
	if k.sftp {
		s.onSFTP(t, w)
	} else {
		s.onS3(t, w)
	}
	if k.beside {
		dir := t.TempDir()
		open := func() (targets.Store, error) { return local.Open(dir) }
		w.target(t, "disk", open, open)
	}
	return w
}

// target adds one, which is opened in two ways.
func (w *world) target(t *testing.T, name string, wild, honest func() (targets.Store, error)) {
	t.Helper()
	for into, open := range map[*map[string]backup.Target]func() (targets.Store, error){&w.wild: wild, &w.honest: honest} {
		store, err := open()
		must(t, err)
		check := func(context.Context) error { return nil }
		if c, ok := store.(targets.Checker); ok {
			check = c.Check
		}
		(*into)[name] = backup.Target{Name: name, Check: check, Catalog: catalog.New(store, nil, "web1")}
	}
	w.called[name] = map[snapshot.ID]bool{}
	w.volume.Targets.Value = append(w.volume.Targets.Value, name)
}

func (s scene) onS3(t *testing.T, w *world) {
	t.Helper()
	w.server = s.s3.WithT(t)
	w.bucket = strings.ToLower("plan-" + rand.Text())
	u := w.server.Bucket(w.bucket)
	w.front = w.server.Front()
	w.wire = testenv.NewWire(t, strings.TrimPrefix(w.front.Endpoint, "http://"))
	open := func(endpoint string, silence time.Duration) func() (targets.Store, error) {
		return func() (targets.Store, error) {
			query := u.Query()
			query.Set("endpoint", endpoint)
			through := *u
			through.RawQuery = query.Encode()
			return s3.Open(t.Context(), &through, s3.Options{Now: time.Now, Silence: silence})
		}
	}
	w.target(t, "far", open("http://"+w.wire.Address, time.Second), open(s.s3.Endpoint, 0))
}

func (s scene) onSFTP(t *testing.T, w *world) {
	t.Helper()
	dir := t.TempDir()
	w.wire = testenv.NewWire(t, s.sftp.Address)
	open := func(u *url.URL) func() (targets.Store, error) {
		return func() (targets.Store, error) { return sftp.Open(u) }
	}
	w.target(t, "far", open(s.sftp.URLAt(w.wire.Address, dir)), open(s.sftp.URL(dir)))
}

// calm ends all faults.
func (w *world) calm() {
	if w.front != nil {
		w.front.Becomes()
	}
	w.wire.Becomes(testenv.Speed{})
}

func (w *world) tell(what string, faults ...any) {
	w.told = append(w.told, fmt.Sprintf("%s %s: %v\n", w.clock.Format("2"), what, faults))
}

func (w *world) write(t *testing.T, data []byte) {
	t.Helper()
	w.data = data
	must(t, os.WriteFile(filepath.Join(w.volume.Mountpoint, "data"), data, 0o600))
}

// backup makes the run of a day, and notes what it says.
func (w *world) backup(t *testing.T, to map[string]backup.Target) backup.Result {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Minute, errors.New("the run took too long"))
	defer cancel()
	w.clock = w.clock.AddDate(0, 0, 1)
	w.runner.Targets = to
	r := w.runner.Run(ctx, jobs.Job{Volumes: []jobs.Volume{w.volume}})[0]
	if ctx.Err() != nil {
		t.Errorf("the run of %v: %v", w.clock, context.Cause(ctx))
	}
	if r.Manifest.ID != "" {
		w.contents[r.Manifest.ID] = w.data
	}
	for _, o := range r.Targets {
		if o.Err == nil && r.Manifest.Good() {
			w.called[o.Target][r.Manifest.ID] = true
		}
		w.removed += len(o.Pruned.Removed)
	}
	if r.Stored() && r.Failure() == nil {
		w.good++
	}
	w.wantRunning(t)
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
