package sftp

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// hosts are the servers' keys that are known.
type hosts struct {
	check ssh.HostKeyCallback
	file  string // to which to add one
}

func (l location) hosts() (hosts, error) {
	files := []string{l.knownHosts}
	if l.knownHosts == "" {
		files = []string{inHome("known_hosts"), "/etc/ssh/ssh_known_hosts"}
	}
	h := hosts{file: files[0]}
	// One that is not there knows nobody.
	files = slices.DeleteFunc(files, func(name string) bool { _, err := os.Stat(name); return errors.Is(err, fs.ErrNotExist) })
	check, err := knownhosts.New(files...)
	if err != nil {
		return h, fmt.Errorf("read the known hosts: %w", err)
	}
	h.check = check
	return h, nil
}

// inHome is the path of a file of SSH's in the home of whoever runs this.
func inHome(name string) string {
	home, err := os.UserHomeDir()
	if err != nil { // as in a systemd unit
		if u, err := user.Current(); err == nil {
			home = u.HomeDir
		}
	}
	return filepath.Join(home, ".ssh", name)
}

// algorithms are those of the keys that are known of a host: asked for any, it may show another one of its keys. It is nil where no key
// is known, or where only authorities are.
func (h hosts) algorithms(address string) []string {
	wrong := (*knownhosts.KeyError)(nil)
	if !errors.As(h.check(address, &net.TCPAddr{IP: net.IPv4zero}, noKey{}), &wrong) {
		return nil
	}
	var found []string
	for _, known := range wrong.Want {
		switch kind := known.Key.Type(); kind {
		case ssh.KeyAlgoRSA:
			found = append(found, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		default:
			found = append(found, kind)
		}
	}
	return found
}

// noKey is a key that no host has.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return []byte("none") }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

// verify is an ssh.HostKeyCallback whose errors say how to mend them.
func (h hosts) verify(address string, remote net.Addr, key ssh.PublicKey) error {
	err := h.check(address, remote, key)
	wrong, revoked := (*knownhosts.KeyError)(nil), (*knownhosts.RevokedError)(nil)
	switch {
	case errors.As(err, &revoked):
		return &final{fmt.Errorf("the server shows a key that is revoked in %s", revoked.Revoked.Filename)}
	case !errors.As(err, &wrong):
		return err
	case len(wrong.Want) > 0:
		known := wrong.Want[0]
		if i := slices.IndexFunc(wrong.Want, func(k knownhosts.KnownKey) bool { return k.Key.Type() == key.Type() }); i >= 0 {
			known = wrong.Want[i]
		}
		return &final{fmt.Errorf("the server shows another key (%s) than the one in line %d of %s: either somebody is in between, or the server "+
			"was set up anew; ask whoever runs it before you change that line", fingerprint(key), known.Line, known.Filename)}
	}
	return &final{fmt.Errorf("the server's key (%s) is not known: when whoever runs the server confirms it, add it by\n    %s >>%s",
		fingerprint(key), scan(address, key), h.file)}
}

func fingerprint(key ssh.PublicKey) string { return key.Type() + " " + ssh.FingerprintSHA256(key) }

// scan is a command that prints the line to add.
func scan(address string, key ssh.PublicKey) string {
	line := knownhosts.Line([]string{knownhosts.Normalize(address)}, key)
	return "echo '" + strings.ReplaceAll(line, "'", "") + "'"
}
