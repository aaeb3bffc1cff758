package e2e

import (
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/testenv"
)

// throttled is a bucket behind a line of 1 MB/s.
func throttled(t *testing.T, server *s3test.Server, bucket string) *url.URL {
	t.Helper()
	behind, err := url.Parse(server.Endpoint)
	must(t, err)
	pass := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(behind)
			r.Out.Host = r.In.Host // it is signed
			r.Out.Body = struct {
				io.Reader
				io.Closer
			}{&slow{from: r.In.Body}, r.In.Body}
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	listener := httptest.NewServer(pass)
	t.Cleanup(listener.Close)
	u := server.Bucket(bucket)
	q := u.Query()
	q.Set("endpoint", listener.URL)
	u.RawQuery = q.Encode()
	return u
}

// slow gives 1 MB/s.
type slow struct {
	from io.Reader
	read int
}

func (s *slow) Read(p []byte) (int, error) {
	const step = 50_000
	if s.read >= step {
		time.Sleep(time.Duration(s.read) * time.Microsecond)
		s.read = 0
	}
	n, err := s.from.Read(p[:min(len(p), step)])
	s.read += n
	return n, err
}

// A target that is slow does not lengthen the hold: as long as the spool has room, or whatever its size beside a disk. In the long form (see
// TestWhatClientsFeelOfABackup) by no more than a tenth.
func TestASlowTargetDoesNotLengthenTheHold(t *testing.T) {
	server := s3test.Start(t)
	d := testenv.NewDocker(t)
	mib, long := 192, os.Getenv("TEST_HOLD_DATA") != ""
	if long {
		mib = 1024
	}
	volume := d.Volume("data", enrolled(), nil)
	repetitive(t, filepath.Join(folder(t, d, volume), "data"), mib)
	d.Run(testenv.Container{
		Name:       "app",
		Config:     container.Config{Image: d.ShellImage()},
		HostConfig: container.HostConfig{Binds: []string{volume + ":/data"}},
	})
	for name, way := range map[string]func(p *program, target string) *program{
		"spool": func(p *program, target string) *program { return p.with("BACKUPD_TARGETS", target) },
		"disk": func(p *program, target string) *program {
			return p.with("BACKUPD_TARGETS", p.localTarget()+","+target).with("BACKUPD_SPOOL_LIMIT", "1") // raised to 1 MiB
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, server := newProgram(t, d), server.WithT(t)
			fast := way(p, "s3="+server.Bucket("fast-"+name).String())
			late := way(p, "s3="+throttled(t, server, "slow-"+name).String())
			fast.backup(0, volume) // so that the file is in memory, if it ever is
			quick, _ := medianHold(t, fast, volume)
			held, took := medianHold(t, late, volume)
			t.Logf("held for %d ms with a fast target, %d ms with a slow one, which took %v", quick, held, took)
			if time.Duration(held)*time.Millisecond > took/2 {
				t.Errorf("containers were held for %d ms of %v", held, took)
			}
			if long && held*10 > quick*11 {
				t.Errorf("containers were held for %d ms, and for %d ms with a fast target", held, quick)
			}
		})
	}
}

// medianHold is of some backups, in milliseconds, with what the last of them took.
func medianHold(t *testing.T, p *program, volume string) (held int64, took time.Duration) {
	var all []int64
	for range holdRuns(t) {
		began := time.Now()
		all = append(all, p.backup(0, volume)[0].Snapshot.HeldMS)
		took = time.Since(began)
	}
	slices.Sort(all)
	return all[len(all)/2], took
}

// repetitive writes a file of which some 2 % is stored.
func repetitive(t *testing.T, name string, mib int) {
	t.Helper()
	noise := filepath.Join(t.TempDir(), "noise")
	fill(t, noise, max(1, mib/64))
	some, err := os.ReadFile(noise)
	must(t, err)
	f, err := os.Create(name)
	must(t, err)
	text := bytes.Repeat([]byte("all work and no play makes jack a dull boy\n"), 1<<20/43)
	for i := range mib {
		_, err := f.Write(append(some[i<<14:(i+1)<<14:(i+1)<<14], text[:1<<20-1<<14]...))
		must(t, err)
	}
	must(t, f.Close())
}
