package rclone

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	"github.com/backupd/backupd/internal/targets"
)

// location is what a target's URL says.
type location struct {
	remote string // its name in rclone's configuration
	root   string // of all keys; empty, "/", or without a slash at the end
}

// remoteName is what rclone calls one. Nothing else gets through: ":http,url=...:" and "remote,pass=...:" have settings, which may be
// secret, and all that begins with "-" would be a flag.
var remoteName = regexp.MustCompile(`^[\pL\pN_][\pL\pN_.+ -]*$`)

// The errors repeat nothing of the URL, as there may be a secret where none should be.
func parse(u *url.URL) (location, error) {
	text, err := url.PathUnescape(u.Opaque)
	if err != nil {
		return location{}, errors.New("it has a % that is not followed by two hexadecimal digits: write % as %25")
	}
	remote, root, found := strings.Cut(text, ":")
	switch {
	case u.Scheme != "rclone" || !found:
		return location{}, errors.New("it has to look like rclone:remote:path")
	case !remoteName.MatchString(remote):
		return location{}, errors.New("it names no remote: give one that `rclone listremotes` shows; its settings belong into rclone's configuration")
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return location{}, errors.New("it takes no options: they belong into rclone's configuration (write ? as %3F and # as %23)")
	}
	if inner := strings.Trim(root, "/"); inner != "" && targets.CheckKey(inner) != nil {
		return location{}, errors.New("its path is none: leave out empty parts, . and .., and control characters")
	}
	if trimmed := strings.TrimRight(root, "/"); trimmed != "" || root == "" {
		root = trimmed
	} else {
		root = "/"
	}
	return location{remote: remote, root: root}, nil
}

// of gives what rclone calls the object of a key, and the place itself for "".
func (l location) of(key string) string {
	root := l.root
	if root != "" && root != "/" && key != "" {
		root += "/"
	}
	return l.remote + ":" + root + key
}

func (l location) String() string { return "rclone:" + l.of("") }
