package s3

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
)

func TestCheckSaysWhatIsWrong(t *testing.T) {
	server := s3test.Start(t)
	good := server.Bucket("good")
	for name, c := range map[string]struct {
		env    map[string]string
		bucket string
		change func(query map[string][]string)
		want   []string
		err    error
	}{
		"nothing":        {bucket: "good"},
		"no such bucket": {bucket: "missing", want: []string{"s3://missing/prefix", "NoSuchBucket", "create the bucket"}},
		"unknown key": {
			bucket: "good", env: map[string]string{"AWS_ACCESS_KEY_ID": "nobody"},
			want: []string{"AWS_ACCESS_KEY_ID"}, err: fs.ErrPermission,
		},
		"wrong secret": {
			bucket: "good", env: map[string]string{"AWS_SECRET_ACCESS_KEY": "hunter2"},
			want: []string{"SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"}, err: fs.ErrPermission,
		},
		"no credentials": {
			bucket: "good", env: map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
			want: []string{"no credentials were found", "~/.aws/credentials"},
		},
		"another region": {
			bucket: "good", change: func(q map[string][]string) { q["region"] = []string{"eu-1"} }, want: []string{"AuthorizationHeaderMalformed", "region="},
		},
		"nobody listens": {
			bucket: "good", change: func(q map[string][]string) { q["endpoint"] = []string{"http://127.0.0.1:1"} },
			want: []string{"connection refused", "is the endpoint right"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			u := server.URL(c.bucket)
			if c.change != nil {
				query := good.Query()
				c.change(query)
				u.RawQuery = query.Encode()
			}
			err := openAt(t, u).Check(t.Context())
			if c.want == nil && err != nil {
				t.Errorf("nothing is wrong: %v", err)
			}
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v: want it to speak of %q", err, want)
				}
			}
			if c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("%v: want %v", err, c.err)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "Signature=")) {
				t.Errorf("a secret is in the error: %v", err)
			}
		})
	}
}

func TestHintsAtNames(t *testing.T) {
	unknownHost := &smithy.OperationError{ServiceID: "S3", OperationName: "ListObjectsV2", Err: &url.Error{
		Op: "Get", URL: "https://bucket.s3.invalid/?X-Amz-Signature=hunter2",
		Err: &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "bucket.s3.invalid"}},
	}}
	for want, at := range map[string]location{
		"(is the endpoint right, and does this machine reach it?)": {bucket: "bucket", endpoint: "https://s3.invalid", pathStyle: true},
		"path-style=true": {bucket: "bucket", endpoint: "https://s3.invalid"},
	} {
		err := (&Store{at: at}).wrap(opList, "", unknownHost)
		if text := err.Error(); !strings.Contains(text, "no such host") || !strings.Contains(text, want) || strings.Contains(text, "hunter2") {
			t.Errorf("%v: want it to speak of %q, and of no signature", err, want)
		}
	}
}

func TestCheckEnds(t *testing.T) {
	server := s3test.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	s, _ := through(t, server, rule{"list", 1, func(_ http.Handler, _ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}})
	if err := s.Check(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("check on a server that hangs: %v", err)
	}
}

// A bucket that is missing is not an object that is missing: of the object nothing is known.
func TestMissingBucketIsNoMissingObject(t *testing.T) {
	s := openAt(t, s3test.Start(t).URL("missing"))
	if _, err := s.Get(t.Context(), "key", 0, -1); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get: %v", err)
	}
	if err := s.Put(t.Context(), "key", strings.NewReader("x")); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("put: %v", err)
	}
}
