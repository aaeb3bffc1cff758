package s3test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
)

// Front stands between a store and a real server, and does to requests what a test wants.
type Front struct {
	Endpoint string // http://127.0.0.1:port

	proxy *httputil.ReverseProxy

	mu       sync.Mutex
	rules    []Rule
	requests []string // operations, in order
}

// Rule does something to the first times requests for an operation.
type Rule struct {
	Operation string
	Times     int
	Do        Doing
}

// Doing is what is done to a request, which goes on to the server by pass.
type Doing func(pass http.Handler, w http.ResponseWriter, r *http.Request)

// Front puts one before the server until the test ends. Its faults are of operations by the names that Operation gives.
func (s *Server) Front(rules ...Rule) *Front {
	s.t.Helper()
	behind, err := url.Parse(s.Endpoint)
	if err != nil {
		s.t.Fatal(err)
	}
	f := &Front{rules: rules, proxy: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(behind)
			r.Out.Host = r.In.Host // it is signed
		},
		ErrorLog: log.New(io.Discard, "", 0), // clients that go away are what tests are about
	}}
	listener := httptest.NewUnstartedServer(f)
	listener.Config.ErrorLog = f.proxy.ErrorLog
	listener.Start()
	s.t.Cleanup(listener.Close)
	f.Endpoint = listener.URL
	return f
}

// Becomes puts other rules into the place of those that there are.
func (f *Front) Becomes(rules ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = rules
}

func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op := Operation(r)
	f.mu.Lock()
	f.requests = append(f.requests, op)
	f.mu.Unlock()
	if do := f.rule(op); do != nil {
		do(f.proxy, w, r)
		return
	}
	f.proxy.ServeHTTP(w, r)
}

func (f *Front) rule(op string) Doing {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.rules {
		if r := &f.rules[i]; r.Operation == op && r.Times > 0 {
			r.Times--
			return r.Do
		}
	}
	return nil
}

// Count tells how often an operation was asked for.
func (f *Front) Count(op string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.requests {
		if r == op {
			n++
		}
	}
	return n
}

// Operation names what a request is for.
func Operation(r *http.Request) string {
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
