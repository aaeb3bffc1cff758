package e2e

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
)

// frontOf gives the URL of a target in a new bucket, whose requests go through what is put before the S3 server.
func frontOf(t *testing.T, server *s3test.Server, bucket string, before func(pass http.Handler) http.Handler) *url.URL {
	t.Helper()
	return frontIn(t, server, server.Bucket(bucket), before)
}

// frontIn is frontOf for a target that there is.
func frontIn(t *testing.T, server *s3test.Server, target *url.URL, before func(pass http.Handler) http.Handler) *url.URL {
	t.Helper()
	behind, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	pass := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(behind)
			r.Out.Host = r.In.Host // it is signed
		},
		ErrorLog: log.New(io.Discard, "", 0), // of clients that leave, as they are meant to
	}
	listener := httptest.NewUnstartedServer(before(pass))
	listener.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		_ = c.(*net.TCPConn).SetReadBuffer(64 << 10) // else most of a part is under way at once; advice
		return ctx
	}
	listener.Start()
	t.Cleanup(func() {
		listener.CloseClientConnections()
		listener.Close()
	})
	u := *target
	q := u.Query()
	q.Set("endpoint", listener.URL)
	u.RawQuery = q.Encode()
	return &u
}

// front lets no part of an upload through but the first.
type front struct {
	pass http.Handler
	part func(*http.Request) // what becomes of the others

	once sync.Once
	held chan struct{} // closed with the first of them
}

// newFront gives a front, and the URL of a target in a new bucket behind it.
func newFront(t *testing.T, server *s3test.Server, bucket string, part func(*http.Request)) (*front, *url.URL) {
	t.Helper()
	f := &front{part: part, held: make(chan struct{})}
	return f, frontOf(t, server, bucket, func(pass http.Handler) http.Handler {
		f.pass = pass
		return f
	})
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if part := r.URL.Query().Get("partNumber"); part == "" || part == "1" {
		f.pass.ServeHTTP(w, r)
		return
	}
	f.once.Do(func() { close(f.held) })
	f.part(r)
}

// slowly takes a part as over a slow line: its end is far away.
func slowly(r *http.Request) {
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for range pace.C {
		if _, err := io.CopyN(io.Discard, r.Body, 4<<10); err != nil { // the client left
			return
		}
	}
}

// silently takes all of a part and never answers.
func silently(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // the client may leave within
	<-r.Context().Done()
}
