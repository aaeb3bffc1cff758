package config

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Targets are places for backups: at least one, each with another name and another address.
type Targets []Target

// Names gives their names.
func (t Targets) Names() []string {
	names := make([]string, len(t))
	for i, target := range t {
		names[i] = target.Name
	}
	return names
}

// UnmarshalText reads "name=URL,name=URL". Its errors say which target they mean by its place in the list until the name is known to be
// one, and repeat no part of a URL: a password may be in any part of one that is written wrong.
func (t *Targets) UnmarshalText(text []byte) error {
	var (
		read Targets
		errs []error
	)
	for i, entry := range strings.Split(string(text), ",") {
		target, err := parseTarget(strings.TrimSpace(entry))
		if err != nil {
			errs = append(errs, fmt.Errorf("target %d of the list: %w", i+1, err))
			continue
		}
		for _, other := range read {
			switch {
			case other.Name == target.Name:
				errs = append(errs, fmt.Errorf("target %d of the list: there is another one named %s: give each a name of its own", i+1, target.Name))
			case place(other.URL) == place(target.URL):
				errs = append(errs, fmt.Errorf("targets %s and %s are the same place: leave out one of them", other.Name, target.Name))
			}
		}
		read = append(read, target)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	*t = read
	return nil
}

const howToWrite = "write name=file:///folder, name=s3://bucket/prefix, name=sftp://user@host/folder, name=webdavs://user@host/folder or name=rclone:remote:path, and a comma within a URL as %2C"

func parseTarget(entry string) (Target, error) {
	name, rest, found := strings.Cut(entry, "=")
	if !found || !regexp.MustCompile(`^[a-z0-9-]{1,63}$`).MatchString(name) {
		return Target{}, fmt.Errorf("it has no name of lower-case letters, digits and hyphens: %s", howToWrite)
	}
	u, err := url.Parse(rest)
	if err != nil {
		return Target{}, fmt.Errorf("%s: it is not a URL: %s", name, howToWrite)
	}
	if err := checkURL(u); err != nil {
		return Target{}, fmt.Errorf("%s: %w", name, err)
	}
	return Target{Name: name, URL: u}, nil
}

// kinds are the schemes that there are, each with what says what is wrong with such a URL. What follows the question mark is for the
// package of the kind to read.
var kinds = map[string]func(u *url.URL) error{"file": checkFile, "s3": checkS3, "rclone": checkRclone, "sftp": checkSFTP, "webdav": checkWebDAV, "webdavs": checkWebDAV}

func checkURL(u *url.URL) error {
	// One that is not understood as the end of a user name and password may all the same have been meant so; folders are called
	// "@home", though.
	if bare := withoutUser(u); bare.User != nil || u.Scheme != "file" && strings.Contains(bare.String(), "@") {
		return errors.New("the URL has a user name or password: leave them out, and write any other @ as %40; credentials for S3 belong in " +
			"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or wherever else the AWS SDK looks, those of rclone's remotes in its own configuration, and " +
			"for sftp there is a key, and for webdav password-file=/path")
	}
	if _, err := url.ParseQuery(u.RawQuery); err != nil {
		return errors.New("what follows the question mark in the URL cannot be read: write it as key=value&key=value")
	}
	if u.Fragment != "" {
		return errors.New("the URL has a # in it: write it as %23")
	}
	if u.Scheme == "" {
		return fmt.Errorf("it is not a URL: %s", howToWrite)
	}
	check, known := kinds[u.Scheme]
	if !known { // which is not repeated: a comma in what rclone calls a connection string makes a scheme of what may be a password
		return fmt.Errorf("the URL's scheme is none of %s", strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
	}
	return check(u)
}

// withoutUser leaves out what may be before the host: the name of a user whose key or password is elsewhere.
func withoutUser(u *url.URL) *url.URL {
	bare := *u
	if _, password := u.User.Password(); slices.Contains([]string{"sftp", "webdav", "webdavs"}, u.Scheme) && !password && !strings.Contains(u.User.Username(), "@") {
		bare.User = nil
	}
	return &bare
}

func checkFile(u *url.URL) error {
	switch {
	case u.Host != "":
		return errors.New("the URL's path must begin with a third slash: file:///folder")
	case !path.IsAbs(u.Path) || path.Clean(u.Path) == "/":
		return errors.New("the URL names no folder: write file:///folder")
	case u.RawQuery != "":
		return errors.New("a file URL takes no options: leave out the question mark and what follows it, or write the mark as %3F")
	}
	return nil
}

func checkS3(u *url.URL) error {
	if u.Host == "" || strings.Contains(u.Host, ":") {
		return errors.New("the URL names no bucket: write s3://bucket or s3://bucket/prefix; the server's address goes into ?endpoint=")
	}
	return nil
}

func checkRclone(u *url.URL) error {
	switch remote, _, found := strings.Cut(u.Opaque, ":"); {
	case !found || remote == "":
		return errors.New("the URL names no remote: write rclone:remote:path, with a remote that `rclone listremotes` shows")
	case u.RawQuery != "":
		return errors.New("an rclone URL takes no options: they belong into rclone's configuration; write a question mark in a path as %3F")
	}
	return nil
}

func checkSFTP(u *url.URL) error {
	if u.Hostname() == "" || u.User.Username() == "" || path.Clean("/"+u.Path) == "/" {
		return errors.New("the URL names no user, host or folder: write sftp://user@host/folder, or /~/folder for one below where the server puts the user")
	}
	return nil
}

func checkWebDAV(u *url.URL) error {
	if u.Hostname() == "" || path.Clean("/"+u.Path) == "/" {
		return errors.New("the URL names no host or folder: write webdavs://user@host/folder?password-file=/path, or webdav:// for a server without TLS")
	}
	return nil
}

// place is what two URLs of one place have in common.
func place(u *url.URL) string {
	if u.Opaque != "" {
		return u.Scheme + ":" + path.Clean(u.Opaque)
	}
	return u.Scheme + "://" + u.Host + path.Clean("/"+u.Path) + "?" + u.Query().Get("endpoint")
}
