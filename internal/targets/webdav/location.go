package webdav

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/backupd/backupd/internal/targets"
)

// location is what a target's URL says.
type location struct {
	scheme       string // http or https
	user         string // "" for nobody
	host         string
	folder       string // of all keys; begins with "/" and does not end with it
	passwordFile string
	caFile       string // with certificates of authorities to trust, besides the machine's own
}

var schemes = map[string]string{"webdav": "http", "webdavs": "https"}

// parse repeats nothing of the URL where a secret may be.
func parse(u *url.URL) (location, error) {
	l := location{scheme: schemes[u.Scheme], user: u.User.Username(), host: u.Host, folder: path.Clean(u.Path)}
	_, password := u.User.Password()
	switch {
	case l.scheme == "" || u.Hostname() == "":
		return l, errors.New("it has to look like webdavs://user@host/folder?password-file=/path")
	case password:
		return l, errors.New("a password does not belong in it, where processes and logs show it: write it into a file, and name that by password-file=/path")
	case u.Fragment != "":
		return l, errors.New("it has a #: write it as %23")
	case targets.CheckKey(strings.TrimPrefix(l.folder, "/")) != nil:
		return l, errors.New("it names no folder: write webdavs://user@host/folder")
	}
	if err := targets.Parameters(u, map[string]func(string) error{
		"password-file": func(v string) error { l.passwordFile = v; return checkPath(v) },
		"ca-file":       func(v string) error { l.caFile = v; return checkPath(v) },
	}); err != nil {
		return l, err
	}
	if (l.user == "") != (l.passwordFile == "") {
		return l, errors.New("a user name and password-file=/path belong together: give both, or none of them")
	}
	return l, nil
}

func checkPath(value string) error {
	if !path.IsAbs(value) {
		return errors.New("it has to be an absolute path")
	}
	return nil
}

// url is where the object of a key is.
func (l location) url(key string) *url.URL {
	return &url.URL{Scheme: l.scheme, Host: l.host, Path: l.folder + "/" + key}
}

// folderURL is where a folder is: that of a key, or of all for "".
func (l location) folderURL(folder string) *url.URL {
	if folder = strings.TrimSuffix(folder, "/"); folder != "" {
		folder += "/"
	}
	return l.url(folder)
}

// of is the address of what has a key, for people.
func (l location) of(key string) string {
	return l.scheme + "://" + l.host + path.Join(l.folder, key)
}

func (l location) readPassword() (string, error) {
	if l.passwordFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(l.passwordFile)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", fmt.Errorf("there is no password in %s", l.passwordFile)
	}
	return password, nil
}

// trust has a client trust the authorities of a file, besides the machine's own.
func trust(t *http.Transport, file string) error {
	roots, err := targets.Authorities(file)
	if err != nil {
		return fmt.Errorf("parameter ca-file: %w", err)
	}
	t.TLSClientConfig.RootCAs = roots
	return nil
}
