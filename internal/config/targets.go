package config

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
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

const howToWrite = "write name=file:///folder or name=s3://bucket/prefix, and a comma within a URL as %2C"

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

func checkURL(u *url.URL) error {
	// One that is not understood as the end of a user name and password may all the same have been meant so; folders are called
	// "@home", though.
	if u.User != nil || u.Scheme != "file" && strings.Contains(u.String(), "@") {
		return errors.New("the URL has a user name or password: leave them out, and write any other @ as %40; credentials for S3 belong in " +
			"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or wherever else the AWS SDK looks")
	}
	if _, err := url.ParseQuery(u.RawQuery); err != nil {
		return errors.New("what follows the question mark in the URL cannot be read: write it as key=value&key=value")
	}
	switch {
	case u.Fragment != "":
		return errors.New("the URL has a # in it: write it as %23")
	case u.Scheme == "file":
		return checkFile(u)
	case u.Scheme == "s3" && (u.Host == "" || strings.Contains(u.Host, ":")):
		return errors.New("the URL names no bucket: write s3://bucket or s3://bucket/prefix; the server's address goes into ?endpoint=")
	case u.Scheme == "s3":
		return nil
	case u.Scheme == "":
		return fmt.Errorf("it is not a URL: %s", howToWrite)
	default:
		return fmt.Errorf("unknown scheme %s: there are file and s3", show(u.Scheme))
	}
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

// place is what two URLs of one place have in common.
func place(u *url.URL) string {
	return u.Scheme + "://" + u.Host + path.Clean("/"+u.Path) + "?" + u.Query().Get("endpoint")
}
