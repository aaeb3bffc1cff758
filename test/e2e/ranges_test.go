package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
)

// meter counts the requests that go through it, and the bytes of their answers.
type meter struct {
	pass            http.Handler
	requests, bytes atomic.Int64
}

func (m *meter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.requests.Add(1)
	m.pass.ServeHTTP(metered{w, m}, r)
}

type metered struct {
	http.ResponseWriter
	m *meter
}

func (w metered) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.m.bytes.Add(int64(n))
	return n, err
}

// E2E_ARCHIVE_MIB asks for a larger archive: the figures must not grow with it.
func TestASmallFileOfALargeArchiveTakesFewRequests(t *testing.T) {
	mib := 128
	if text := os.Getenv("E2E_ARCHIVE_MIB"); text != "" {
		var err error
		if mib, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	server := s3test.Start(t)
	m := &meter{}
	target := frontOf(t, server, "bucket", func(pass http.Handler) http.Handler {
		m.pass = pass
		return m
	})
	volumes := t.TempDir()
	wanted := manyFiles(t, filepath.Join(volumes, "app"), mib)
	p := newDirProgram(t, volumes).with("BACKUPD_TARGETS", "s3="+target.String())
	_, sealed := p.with("BACKUPD_HOST", "other").encrypting()
	id, sealedID := p.backup(0, "app")[0].Snapshot.ID, sealed.backup(0, "app")[0].Snapshot.ID
	for _, c := range []struct {
		manifest string
		p        *program
		id       string
	}{
		{"cached", p, id},
		{"fetched", p.with("BACKUPD_STATE_DIR", t.TempDir()), id},
		{"cached_and_encrypted", sealed, sealedID},
	} {
		m.requests.Store(0)
		m.bytes.Store(0)
		if got := c.p.run(0, "cat", c.id, "small/15/wanted").out; got != wanted {
			t.Errorf("the file comes back with %d bytes that are not its own", len(got))
		}
		requests, bytes := m.requests.Load(), m.bytes.Load()
		if requests > 5 || bytes > 4<<20 {
			t.Errorf("one file of an archive of %d MiB, its manifest %s: %d requests and %d bytes", mib, c.manifest, requests, bytes)
		}
		t.Attr(fmt.Sprintf("one_file_of_%d_mib_manifest_%s", mib, c.manifest), fmt.Sprintf("%d requests, %d bytes", requests, bytes))
	}
}

// manyFiles fills a volume with so many MiB, a few thousand small files and, among these, the one of 8 KiB that it gives.
func manyFiles(t *testing.T, dir string, mib int) (wanted string) {
	t.Helper()
	wanted = strings.Repeat("8 KiB...", 1024)
	for d := range 100 {
		sub := filepath.Join(dir, "small", strconv.Itoa(d))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			write(t, filepath.Join(sub, strconv.Itoa(i)), fmt.Sprint(d, i))
		}
		write(t, filepath.Join(sub, "wanted"), wanted)
	}
	fill(t, filepath.Join(dir, "large"), mib)
	return wanted
}

func write(t *testing.T, name, data string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A server that dies while an archive is read back has done nothing to the archive.
func TestVerifyOfAServerThatDiesIsNoDamage(t *testing.T) {
	server := s3test.Start(t)
	var deadly atomic.Bool
	target := frontOf(t, server, "bucket", func(pass http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if deadly.Load() && strings.HasSuffix(r.URL.Path, ".tar.zst") {
				_ = server.Process.Kill() // it is dead already when this is tried again
			}
			pass.ServeHTTP(w, r)
		})
	})
	volumes := t.TempDir()
	manyFiles(t, filepath.Join(volumes, "app"), 64)
	p := newDirProgram(t, volumes).with("BACKUPD_TARGETS", "s3="+target.String())
	p.backup(0, "app")
	p.run(0, "verify")
	deadly.Store(true)
	e := p.run(1, "verify")
	if !strings.HasPrefix(e.out, "NOT READ") || strings.Contains(e.out, "DAMAGED") || !strings.Contains(e.complaints, "not read: ") {
		t.Errorf("it says: %s%s", e.out, e.complaints)
	}
}
