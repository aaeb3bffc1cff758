// Package webdavtest runs a real WebDAV server for one test, on loopback: that of rclone, over a folder of this machine.
package webdavtest

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/backupd/backupd/internal/testenv"
)

// Server is a running server, which lets User in with Password.
type Server struct {
	Address      string // 127.0.0.1:port
	Dir          string // what it serves
	PasswordFile string // path of a file with the password
}

// User and Password are those that servers take.
const (
	User     = "me"
	Password = "hunter2"
)

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	rclone := testenv.Tool(t, "rclone")
	s := &Server{Dir: t.TempDir(), PasswordFile: filepath.Join(t.TempDir(), "password")}
	if err := os.WriteFile(s.PasswordFile, []byte(Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Address, _ = testenv.Serve(t, func(address string) *exec.Cmd {
		c := exec.Command(rclone, "serve", "webdav", "--addr", address, "--user", User, "--pass", Password, "--dir-cache-time", "0", s.Dir)
		c.Env = append(os.Environ(), "RCLONE_CONFIG="+os.DevNull)
		return c
	})
	return s
}

// URLAt is that of a target in a folder of the server, by that address.
func (s *Server) URLAt(address, folder string) *url.URL {
	return &url.URL{Scheme: "webdav", User: url.User(User), Host: address, Path: "/" + folder, RawQuery: url.Values{
		"password-file": {s.PasswordFile},
	}.Encode()}
}
