package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
)

// front stands before the S3 server, and lets requests hang that the test wants to: it takes all that they bring and never answers.
type front struct {
	pass  *httputil.ReverseProxy
	hangs func(*http.Request) bool

	once sync.Once
	hung chan struct{} // closed with the first that hangs
}

// newFront gives a front, and the URL of a target in a new bucket behind it.
func newFront(t *testing.T, server *s3test.Server, bucket string, hangs func(*http.Request) bool) (*front, *url.URL) {
	t.Helper()
	behind, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{hangs: hangs, hung: make(chan struct{})}
	f.pass = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(behind)
		r.Out.Host = r.In.Host // it is signed
	}}
	listener := httptest.NewServer(f)
	t.Cleanup(listener.Close)
	u := server.Bucket(bucket)
	q := u.Query()
	q.Set("endpoint", listener.URL)
	u.RawQuery = q.Encode()
	return f, u
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !f.hangs(r) {
		f.pass.ServeHTTP(w, r)
		return
	}
	f.once.Do(func() { close(f.hung) })
	_, _ = io.Copy(io.Discard, r.Body) // the client may leave within
	<-r.Context().Done()
}

// isPart tells whether a request brings a part of an upload, other than the first.
func isPart(r *http.Request) bool {
	part := r.URL.Query().Get("partNumber")
	return part != "" && part != "1"
}

// isAbort tells whether a request is to make the server forget an upload.
func isAbort(r *http.Request) bool {
	return r.Method == http.MethodDelete && r.URL.Query().Has("uploadId")
}
