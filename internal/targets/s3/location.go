package s3

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/backupd/backupd/internal/targets"
)

// location is what a target's URL says.
type location struct {
	bucket      string
	prefix      string // of all keys; empty or ending with "/"
	endpoint    string // empty for AWS's own
	region      string // empty for what the SDK's chain says
	pathStyle   bool
	caFile      string // with certificates of authorities to trust, besides the machine's own
	partSize    int64  // bytes; 0 for parts that grow with the object
	maxParts    int    // of one object
	concurrency int    // parts of one object on their way at once
	conditional bool   // whether the server is asked not to replace
	proof       proof  // of what the server has stored
	keeping     keeping
}

func parse(u *url.URL) (location, error) {
	l := location{bucket: u.Host, concurrency: 2, maxParts: mostParts, conditional: true, proof: byCRC}
	switch {
	case u.Scheme != "s3" || u.Opaque != "":
		return l, errors.New("it has to look like s3://bucket/prefix")
	case u.User != nil:
		return l, errors.New("credentials do not belong in it: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use ~/.aws/credentials")
	case u.Fragment != "":
		return l, fmt.Errorf("what is #%s to mean? (write # as %%23)", u.Fragment)
	case l.bucket == "" || strings.ContainsAny(l.bucket, ":[]"):
		return l, fmt.Errorf("%q is no name of a bucket", l.bucket)
	}
	if prefix := strings.Trim(u.Path, "/"); prefix != "" {
		if err := targets.CheckKey(prefix); err != nil {
			return l, err
		}
		l.prefix = prefix + "/"
	}
	if err := targets.Parameters(u, l.parameters()); err != nil {
		return l, err
	}
	return l, l.keeping.check(l.proof)
}

// parameters sets what may stand after the "?".
func (l *location) parameters() map[string]func(value string) error {
	k := &l.keeping
	return map[string]func(value string) error{
		"endpoint":      func(v string) error { l.endpoint = v; return checkEndpoint(v) },
		"region":        func(v string) error { l.region = v; return nil },
		"path-style":    func(v string) (err error) { l.pathStyle, err = yesNo(v); return err },
		"ca-file":       func(v string) error { l.caFile = v; return checkPath(v) },
		"conditional":   func(v string) (err error) { l.conditional, err = yesNo(v); return err },
		"checksum":      func(v string) (err error) { l.proof, err = parseProof(v); return err },
		"part-size":     func(v string) (err error) { l.partSize, err = parsePartSize(v); return err },
		"max-parts":     func(v string) (err error) { l.maxParts, err = parseMaxParts(v); return err },
		"concurrency":   func(v string) (err error) { l.concurrency, err = parseConcurrency(v); return err },
		"storage-class": func(v string) (err error) { k.class, err = parseStorageClass(v); return err },
		"sse":           func(v string) (err error) { k.sse, err = parseSSE(v); return err },
		"kms-key":       func(v string) error { k.kmsKey = v; return checkGiven(v) },
		"lock":          func(v string) (err error) { k.mode, err = parseLock(v); return err },
		"lock-days":     func(v string) (err error) { k.days, err = parseLockDays(v); return err },
	}
}

func checkEndpoint(value string) error {
	u, err := url.Parse(value)
	switch {
	case err != nil:
		return err
	case u.User != nil:
		return errors.New("credentials do not belong in it")
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%q does not look like https://s3.example.com", value)
	}
	return nil
}

func checkPath(value string) error {
	if !filepath.IsAbs(value) {
		return fmt.Errorf("%q is not a path from the root on", value)
	}
	return nil
}

func checkGiven(value string) error {
	if value == "" {
		return errors.New("it is empty")
	}
	return nil
}

func yesNo(value string) (bool, error) {
	switch value {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", value)
}

// The bounds are those of S3.
func parsePartSize(value string) (int64, error) {
	n, err := humanize.ParseBytes(value)
	if err != nil || n < 5<<20 || n > hugestPart {
		return 0, fmt.Errorf("%q is not a size from 5MiB to 5GiB", value)
	}
	return int64(n), nil
}

func parseMaxParts(value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 100 || n > mostParts {
		return 0, fmt.Errorf("%q is not a number from 100 to %d", value, mostParts)
	}
	return n, nil
}

func parseConcurrency(value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 16 {
		return 0, fmt.Errorf("%q is not a number from 1 to 16", value)
	}
	return n, nil
}
