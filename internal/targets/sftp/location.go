package sftp

import (
	"errors"
	"net"
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/backupd/backupd/internal/targets"
)

// location is what a target's URL says.
type location struct {
	user       string
	address    string // host:port
	folder     string // of all keys; relative to where the server puts the user, when it does not begin with "/"
	identity   string // path of a private key; "" for those of the agent and of ~/.ssh
	knownHosts string // path; "" for the user's and the machine's
}

var userName = regexp.MustCompile(`^[\pL\pN_][\pL\pN_.+-]*$`)

// parse repeats nothing of the URL where a secret may be.
func parse(u *url.URL) (location, error) {
	l := location{user: u.User.Username(), address: net.JoinHostPort(u.Hostname(), port(u)), folder: path.Clean(u.Path)}
	_, password := u.User.Password()
	switch {
	case u.Scheme != "sftp" || u.Hostname() == "":
		return l, errors.New("it has to look like sftp://user@host/folder")
	case password:
		return l, errors.New("a password does not belong in it: use a key, by identity=/path or an agent")
	case !userName.MatchString(l.user):
		return l, errors.New("it names no user: write sftp://user@host/folder")
	case u.Fragment != "":
		return l, errors.New("it has a #: write it as %23")
	}
	if home, found := strings.CutPrefix(l.folder, "/~/"); found {
		l.folder = home
	}
	if inner := strings.TrimPrefix(l.folder, "/"); inner == "" || inner == "~" || targets.CheckKey(inner) != nil {
		return l, errors.New("it names no folder: write sftp://user@host/folder, or /~/folder for one below where the server puts the user")
	}
	return l, targets.Parameters(u, map[string]func(string) error{
		"identity":    func(v string) error { l.identity = v; return checkPath(v) },
		"known-hosts": func(v string) error { l.knownHosts = v; return checkPath(v) },
	})
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return "22"
}

func checkPath(value string) error {
	if !path.IsAbs(value) {
		return errors.New("it has to be an absolute path")
	}
	return nil
}

// of is the address of what has a key, and of the folder for "".
func (l location) of(key string) string {
	folder := l.folder
	if !path.IsAbs(folder) {
		folder = "/~/" + folder
	}
	return "sftp://" + l.user + "@" + l.address + path.Join(folder, key)
}
