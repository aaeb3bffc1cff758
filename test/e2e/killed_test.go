package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
)

// killer does something at one request to a server, counted from 1, which then gets no answer.
type killer struct {
	pass  http.Handler
	at    int64
	after bool // the request takes effect
	kill  func()

	seen atomic.Int64
}

func (k *killer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if k.seen.Add(1) != k.at {
		k.pass.ServeHTTP(w, r)
		return
	}
	if k.after {
		k.pass.ServeHTTP(httptest.NewRecorder(), r)
	}
	k.kill()
	panic(http.ErrAbortHandler)
}

// before puts the killer before a new bucket.
func (k *killer) before(t *testing.T, server *s3test.Server, bucket string) *url.URL {
	return frontOf(t, server, bucket, func(pass http.Handler) http.Handler { k.pass = pass; return k })
}

// TestKilledAtEachRequestToS3 ends the program by SIGKILL at each of its requests, before and after it takes effect. What the next run finds
// is whole or not listed, and it leaves no part of an upload.
func TestKilledAtEachRequestToS3(t *testing.T) {
	server := s3test.Start(t)
	volumes := t.TempDir()
	if err := os.Mkdir(filepath.Join(volumes, "app"), 0o755); err != nil {
		t.Fatal(err)
	}
	fill(t, filepath.Join(volumes, "app", "ballast"), 48) // some parts
	idle := &killer{}
	p := newDirProgram(t, volumes)
	p.with("BACKUPD_TARGETS", "s3="+idle.before(t, server, "idle").String()).backup(0, "app")
	requests := idle.seen.Load()
	if requests < 10 {
		t.Fatalf("a run makes %d requests, too few to have parts", requests)
	}
	left := 0
	for at := int64(1); at <= requests; at++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d of %d, after=%t", at, requests, after), func(t *testing.T) {
				if killedAt(t, server, volumes, fmt.Sprintf("bucket-%d-%t", at, after), at, after) {
					left++
				}
			})
		}
	}
	if left == 0 {
		t.Error("none of them left any part of an upload, so nothing was seen to go")
	}
	t.Attr("killed_uploads", fmt.Sprint(left))
}

// killedAt tells whether the killed run left parts of an upload.
func killedAt(t *testing.T, server *s3test.Server, volumes, bucket string, at int64, after bool) (left bool) {
	started := make(chan *process, 1)
	k := &killer{at: at, after: after, kill: func() {
		r := <-started
		_ = r.cmd.Process.Kill() // whether it did is seen from its exit code
	}}
	p := newDirProgram(t, volumes)
	p = p.with("BACKUPD_TARGETS", "s3="+k.before(t, server, bucket).String())
	r := p.start("backup", "app")
	started <- r
	if e := r.wait(); e.code != -1 {
		t.Fatalf("it was not killed, and ended with exit code %d:\n%s", e.code, e.complaints)
	}
	return goesOn(t, p, server, bucket)
}

// goesOn wants all to be well after the next run, and tells whether parts of an upload were left before it.
func goesOn(t *testing.T, p *program, server *s3test.Server, bucket string) (left bool) {
	t.Helper()
	noticed := &noticing{TB: t}
	server.WithT(noticed).WantNoUploads(bucket)
	found := p.list("app")
	p.backup(0, "app")
	server.WithT(t).WantNoUploads(bucket)
	if now := len(p.list("app")); now != len(found)+1 {
		t.Errorf("%d snapshots are listed, and were %d before another", now, len(found))
	}
	p.run(0, "verify", "--all")
	return noticed.failed
}

// noticing is a test that notes that it would have failed.
type noticing struct {
	testing.TB
	failed bool
}

func (n *noticing) Errorf(string, ...any) { n.failed = true }
func (n *noticing) Helper()               {}
