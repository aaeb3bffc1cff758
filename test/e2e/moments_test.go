package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
)

var (
	kills = flag.Int("kills", 8, "at how many random moments uploads are killed")
	seed  = flag.Uint64("seed", 1, "of these moments")
)

// moments passes requests on, and tells once when an upload begins.
type moments struct {
	pass  http.Handler
	begun func()
	once  sync.Once
}

func (m *moments) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && r.URL.Query().Has("uploads") {
		m.once.Do(m.begun)
	}
	m.pass.ServeHTTP(w, r)
}

// TestKilledAtRandomMomentsOfUploads ends the program by SIGKILL anywhere between the beginning of an upload and the end of the run, in the
// middle of parts too. The next run succeeds, what is listed is whole, and no part is left.
func TestKilledAtRandomMomentsOfUploads(t *testing.T) {
	server := s3test.Start(t)
	volumes := t.TempDir()
	if err := os.Mkdir(filepath.Join(volumes, "app"), 0o755); err != nil {
		t.Fatal(err)
	}
	fill(t, filepath.Join(volumes, "app", "ballast"), 96)
	took := uploading(t, server, volumes)
	random := rand.New(rand.NewPCG(*seed, 0))
	killed, left := 0, 0
	for i := range *kills {
		after := time.Duration(random.Float64() * float64(took))
		t.Run(fmt.Sprintf("%d, after %s of %s", i, after.Round(time.Millisecond), took.Round(time.Millisecond)), func(t *testing.T) {
			was, parts := killedAfter(t, server, volumes, fmt.Sprintf("moment-%d", i), after)
			killed, left = killed+one(was), left+one(parts)
		})
	}
	if killed == 0 || left == 0 {
		t.Errorf("%d runs were killed, of which %d left parts of an upload: nothing was seen to be mended", killed, left)
	}
	t.Attr("killed_runs", fmt.Sprint(killed))
	t.Attr("killed_uploads", fmt.Sprint(left))
	t.Attr("seed", fmt.Sprint(*seed))
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}

// uploading is how long it takes from the beginning of an upload to the end of the run.
func uploading(t *testing.T, server *s3test.Server, volumes string) time.Duration {
	t.Helper()
	var began time.Time
	m := &moments{begun: func() { began = time.Now() }}
	u := frontOf(t, server, "idle", func(pass http.Handler) http.Handler { m.pass = pass; return m })
	newDirProgram(t, volumes).with("BACKUPD_TARGETS", "s3="+u.String()).backup(0, "app")
	if began.IsZero() {
		t.Fatal("what is uploaded has no parts")
	}
	return time.Since(began)
}

// killedAfter tells whether the run was killed before it ended, and whether it left parts.
func killedAfter(t *testing.T, server *s3test.Server, volumes, bucket string, after time.Duration) (killed, left bool) {
	t.Helper()
	started := make(chan *process, 1)
	m := &moments{begun: func() {
		r := <-started
		time.AfterFunc(after, func() { _ = r.cmd.Process.Kill() }) // it may have ended
	}}
	u := frontOf(t, server, bucket, func(pass http.Handler) http.Handler { m.pass = pass; return m })
	p := newDirProgram(t, volumes).with("BACKUPD_TARGETS", "s3="+u.String())
	r := p.start("backup", "app")
	started <- r
	switch e := r.wait(); e.code {
	case -1:
		killed = true
	case 0:
		if n := len(p.list("app")); n != 1 {
			t.Errorf("it was not killed, and %d snapshots are listed", n)
		}
	default:
		t.Fatalf("it ended with exit code %d:\n%s", e.code, e.complaints)
	}
	return killed, goesOn(t, p, server, bucket)
}
