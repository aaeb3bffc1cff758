package s3

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
)

// front is what stands between a store and its server.
type front struct {
	*s3test.Front
	url *url.URL // of the store's target
}

// rule does something to the first times requests for an operation.
type rule struct {
	operation string
	times     int
	do        func(pass http.Handler, w http.ResponseWriter, r *http.Request)
}

// through gives a store with an empty bucket behind a front.
func through(t *testing.T, server *s3test.Server, rules ...rule) (*Store, *front) {
	t.Helper()
	return throughWith(t, server, "", rules...)
}

// throughWith does so for a store with more parameters in its URL.
func throughWith(t *testing.T, server *s3test.Server, parameters string, rules ...rule) (*Store, *front) {
	t.Helper()
	var told []s3test.Rule
	for _, r := range rules {
		told = append(told, s3test.Rule{Operation: r.operation, Times: r.times, Do: r.do})
	}
	return throughRules(t, server, parameters, told)
}

func throughRules(t *testing.T, server *s3test.Server, parameters string, rules []s3test.Rule) (*Store, *front) {
	t.Helper()
	f := &front{Front: server.WithT(t).Front(rules...)}
	bucket := strings.ToLower("bucket-" + rand.Text()) // a test may have several
	u := server.Bucket(bucket)
	t.Cleanup(func() { server.WantNoUploads(bucket) })
	f.url = endpoint(u, f.Endpoint)
	f.url.RawQuery += parameters
	return openAt(t, f.url), f
}

// endpoint gives the URL of a bucket behind something else.
func endpoint(bucket *url.URL, address string) *url.URL {
	u, query := *bucket, bucket.Query()
	query.Set("endpoint", address)
	u.RawQuery = query.Encode()
	return &u
}
