// Package s3test runs a real S3 server for one test, on loopback: the program of test/s3server, over a folder.
package s3test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/backupd/backupd/internal/testenv"
)

// Server is a running server. Its buckets are folders, and objects files in them.
type Server struct {
	Endpoint string // http://127.0.0.1:port
	Dir      string // with the buckets
	Process  *os.Process

	notes string // of the server about buckets and objects
	t     testing.TB
}

// The credentials that a Server accepts. Guest may do what the policy of a bucket grants, and has the same secret.
const (
	AccessKey = "access"
	Guest     = "backupd"
	SecretKey = "secret-of-the-tests"
)

// Start runs a server until the test ends. For the rest of the test the environment has its credentials, and none of the machine's.
func Start(t testing.TB) *Server {
	t.Helper()
	program := testenv.S3Server(t)
	s := &Server{Dir: t.TempDir(), notes: t.TempDir(), t: t}
	// In files, as the attributes of one are too small on ext4 for what it notes about an upload of thousands of parts.
	versions, guests := t.TempDir(), guests(t)
	address, process := testenv.Serve(t, func(address string) *exec.Cmd {
		server := exec.Command(program, "--quiet", "--keep-alive", "--iam-dir", guests, "--port", address, "posix", "--sidecar", s.notes, "--versioning-dir", versions, s.Dir)
		server.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+AccessKey, "ROOT_SECRET_KEY="+SecretKey)
		return server
	})
	s.Endpoint, s.Process = "http://"+address, process
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": AccessKey, "AWS_SECRET_ACCESS_KEY": SecretKey, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_REGION": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_S3": "", "AWS_CA_BUNDLE": "",
	} {
		t.Setenv(name, value)
	}
	return s
}

// guests makes the folder of accounts.
func guests(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	accounts := fmt.Sprintf(`{"accessAccounts": {%q: {"access": %[1]q, "secret": %q, "role": "user"}}}`, Guest, SecretKey)
	if err := os.WriteFile(filepath.Join(dir, "users.json"), []byte(accounts), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Bucket makes a bucket and gives the URL of a target in it, to which parameters may be added.
func (s *Server) Bucket(name string) *url.URL {
	s.t.Helper()
	if err := os.Mkdir(filepath.Join(s.Dir, name), 0o755); err != nil {
		s.t.Fatal(err)
	}
	return s.URL(name)
}

// LockingBucket is Bucket for one that can lock objects, and so keeps versions of them. It writes the notes that the server would.
func (s *Server) LockingBucket(name string) *url.URL {
	s.t.Helper()
	u := s.Bucket(name)
	notes := filepath.Join(s.notes, name, "meta")
	err := os.MkdirAll(notes, 0o755)
	for note, content := range map[string]string{"versioning": "\x01", "bucket-lock": `{"Enabled": true}`} {
		err = errors.Join(err, os.WriteFile(filepath.Join(notes, note), []byte(content), 0o644))
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return u
}

// URL is that of a target in a bucket that may not be there.
func (s *Server) URL(bucket string) *url.URL {
	return &url.URL{Scheme: "s3", Host: bucket, Path: "/prefix", RawQuery: url.Values{
		"endpoint": {s.Endpoint}, "region": {"us-east-1"}, "path-style": {"true"},
	}.Encode()}
}

// WantNoUploads fails the test when the bucket has parts of multipart uploads that were neither completed nor aborted.
func (s *Server) WantNoUploads(bucket string) {
	s.t.Helper()
	// Where the server keeps them, below the bucket, as files.
	err := filepath.WalkDir(filepath.Join(s.Dir, bucket, ".sgwtmp"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			s.t.Errorf("left of an upload: %s", path)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
}

// WithT is the same server, with another test to fail.
func (s *Server) WithT(t testing.TB) *Server {
	return &Server{Endpoint: s.Endpoint, Dir: s.Dir, Process: s.Process, notes: s.notes, t: t}
}
