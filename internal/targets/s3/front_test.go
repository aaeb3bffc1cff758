package s3

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
)

// front stands between a store and a real server, and does to requests what a test wants.
type front struct {
	proxy *httputil.ReverseProxy
	rules []rule
	url   *url.URL // of the store's target

	mu       sync.Mutex
	requests []string // operations, in order
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
	behind, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{rules: rules, proxy: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(behind)
		r.Out.Host = r.In.Host // it is signed
	}}}
	listener := httptest.NewServer(f)
	t.Cleanup(listener.Close)
	bucket := strings.ToLower("bucket-" + rand.Text()) // a test may have several
	u := server.Bucket(bucket)
	t.Cleanup(func() { server.WantNoUploads(bucket) })
	query := u.Query()
	query.Set("endpoint", listener.URL)
	u.RawQuery = query.Encode() + parameters
	f.url = u
	return openAt(t, u), f
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op := operationOf(r)
	f.mu.Lock()
	f.requests = append(f.requests, op)
	f.mu.Unlock()
	if rule := f.rule(op); rule != nil {
		rule.do(f.proxy, w, r)
		return
	}
	f.proxy.ServeHTTP(w, r)
}

func (f *front) rule(op string) *rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.rules {
		if r := &f.rules[i]; r.operation == op && r.times > 0 {
			r.times--
			return r
		}
	}
	return nil
}

// count tells how often an operation was asked for.
func (f *front) count(op string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.requests {
		if r == op {
			n++
		}
	}
	return n
}

func operationOf(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case q.Has("list-type"):
		return "list"
	case q.Has("uploads") && r.Method == http.MethodGet:
		return "uploads"
	case q.Has("uploads"):
		return "create"
	case q.Has("partNumber"):
		return "part"
	case q.Has("uploadId") && r.Method == http.MethodPost:
		return "complete"
	case q.Has("uploadId") && r.Method == http.MethodDelete:
		return "abort"
	}
	return strings.ToLower(r.Method)
}

// refuse answers with an error of S3.
func refuse(status int, code string) func(http.Handler, http.ResponseWriter, *http.Request) {
	return func(_ http.Handler, w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the client may see a broken connection first
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>as the test wants</Message></Error>", code)
	}
}

// loseAnswer lets the request take effect and breaks the connection.
func loseAnswer(pass http.Handler, _ http.ResponseWriter, r *http.Request) {
	pass.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// cutOff breaks the connection after so many bytes of the answer's body.
func cutOff(after int) func(http.Handler, http.ResponseWriter, *http.Request) {
	return func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		pass.ServeHTTP(answer, r)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes()[:min(after, answer.Body.Len())]) // the client may be gone
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// replay gives an answer that was recorded.
func replay(w http.ResponseWriter, answer *httptest.ResponseRecorder) {
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // the client may be gone
}

// say answers with these headers and this body.
func say(header map[string]string, body string) func(http.Handler, http.ResponseWriter, *http.Request) {
	return func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
		for name, value := range header {
			w.Header().Set(name, value)
		}
		if w.Header().Get("Content-Range") != "" {
			w.WriteHeader(http.StatusPartialContent)
		}
		fmt.Fprint(w, body)
	}
}
