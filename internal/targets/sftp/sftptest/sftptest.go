// Package sftptest runs a real SFTP server for one test, on loopback: OpenSSH's, with keys and a configuration of its own.
package sftptest

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/testenv"
)

// Server is a running server, which lets the user who runs the tests in by a key.
type Server struct {
	Address    string // 127.0.0.1:port
	Identity   string // path of the private key to log in with
	KnownHosts string // path of a file that has the server's key
	Process    *os.Process

	t    testing.TB
	user string
}

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	sshd := program(t)
	testenv.Root(t) // sshd changes to whoever logs in
	dir := t.TempDir()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, user: me.Username, Identity: filepath.Join(dir, "id"), KnownHosts: filepath.Join(dir, "known_hosts")}
	hostKey := filepath.Join(dir, "host")
	s.keygen(s.Identity)
	s.keygen(hostKey)
	// A folder that Debian's unit makes, and without which sshd does not start.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	s.Address, s.Process = testenv.Serve(t, func(address string) *exec.Cmd {
		config := filepath.Join(dir, "config")
		s.write(config, fmt.Sprintf(`
ListenAddress %s
HostKey %s
AuthorizedKeysFile %s.pub
PidFile none
StrictModes no
UsePAM yes
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
Subsystem sftp internal-sftp
`, address, hostKey, s.Identity))
		return exec.Command(sshd, "-D", "-e", "-f", config)
	})
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		t.Fatal(err)
	}
	s.write(s.KnownHosts, "["+host+"]:"+port+" "+s.read(hostKey+".pub"))
	return s
}

// program is sshd, which is called by its whole path, as it starts itself anew.
func program(t testing.TB) string {
	if _, err := os.Stat("/usr/sbin/sshd"); err == nil {
		return "/usr/sbin/sshd"
	}
	return testenv.Tool(t, "sshd")
}

func (s *Server) keygen(path string) {
	s.t.Helper()
	out, err := exec.Command(testenv.Tool(s.t, "ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", path).CombinedOutput()
	if err != nil {
		s.t.Fatalf("make a key: %v: %s", err, out)
	}
}

func (s *Server) write(path, text string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) read(path string) string {
	s.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// URL is that of a target in a folder of the server, which is one of this machine.
func (s *Server) URL(folder string) *url.URL { return s.URLAt(s.Address, folder) }

// URLAt is the same by another address, which known hosts have the server's key for, too.
func (s *Server) URLAt(address, folder string) *url.URL {
	s.t.Helper()
	if address != s.Address {
		_, key, _ := strings.Cut(s.read(s.KnownHosts), " ")
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			s.t.Fatal(err)
		}
		s.write(s.KnownHosts, s.read(s.KnownHosts)+"["+host+"]:"+port+" "+strings.SplitAfter(key, "\n")[0])
	}
	return &url.URL{Scheme: "sftp", User: url.User(s.user), Host: address, Path: folder, RawQuery: url.Values{
		"identity": {s.Identity}, "known-hosts": {s.KnownHosts},
	}.Encode()}
}
