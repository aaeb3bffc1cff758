package webdav

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/targetstest"
	"github.com/backupd/backupd/internal/targets/webdav/webdavtest"
)

// front stands before a real server. It answers by itself what fault takes.
type front struct {
	store   *Store
	url     *url.URL
	handler http.Handler
	dir     string // of the target
	fault   atomic.Pointer[func(w http.ResponseWriter, r *http.Request, server http.Handler) (taken bool)]
}

func newFront(t *testing.T) *front {
	t.Helper()
	server := webdavtest.Start(t)
	f := &front{dir: filepath.Join(server.Dir, "target")}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: server.Address})
		if to := r.Out.Header.Get("Destination"); to != "" {
			r.Out.Header.Set("Destination", strings.Replace(to, r.In.Host, server.Address, 1))
		}
	}}
	f.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fault := f.fault.Load(); fault == nil || !(*fault)(w, r, proxy) {
			proxy.ServeHTTP(w, r)
		}
	})
	h := httptest.NewServer(f.handler)
	t.Cleanup(h.Close)
	f.url = server.URLAt(h.Listener.Addr().String(), "target")
	f.store = checked(t, f.url)
	return f
}

func (f *front) fails(fault func(w http.ResponseWriter, r *http.Request, server http.Handler) bool) {
	f.fault.Store(&fault)
}

func (f *front) wantNothing(t *testing.T, key string) {
	t.Helper()
	f.fault.Store(nil)
	if _, err := targetstest.Read(t, f.store, key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get: %v, want fs.ErrNotExist", err)
	}
	wantNoPartials(t, f.dir)
}

func answers(method string, code int) func(http.ResponseWriter, *http.Request, http.Handler) bool {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if r.Method == method {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(code)
		}
		return r.Method == method
	}
}

func TestAServerThatRefusesOrLies(t *testing.T) {
	f := newFront(t)
	for name, c := range map[string]struct {
		method string
		code   int
		want   string
	}{
		"full":             {http.MethodPut, http.StatusInsufficientStorage, "no room"},
		"not let in":       {http.MethodPut, http.StatusUnauthorized, "does not take the user name and password"},
		"elsewhere":        {http.MethodPut, http.StatusMovedPermanently, "elsewhere"},
		"a put is lost":    {http.MethodPut, http.StatusCreated, "and has not"},
		"a move is not":    {"MOVE", http.StatusCreated, "has moved what it was sent, and has not"},
		"a move fails":     {"MOVE", http.StatusInternalServerError, "500"},
		"nothing but HTTP": {"PROPFIND", http.StatusOK, "there is no WebDAV"},
	} {
		for size, data := range map[string][]byte{"small": []byte("x"), "large": targetstest.Random(3 << 20)} {
			t.Run(name+", "+size, func(t *testing.T) {
				f.fails(answers(c.method, c.code))
				err := f.store.Put(t.Context(), "a/key", bytes.NewReader(data))
				if err == nil || errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), webdavtest.Password) {
					t.Errorf("put: %v, want %q", err, c.want)
				}
				f.wantNothing(t, "a/key")
			})
		}
	}
}

// What takes effect and whose answer is lost has been done once.
func TestAMoveWhoseAnswerIsLost(t *testing.T) {
	f := newFront(t)
	lost := false
	f.fails(func(_ http.ResponseWriter, r *http.Request, server http.Handler) bool {
		if r.Method != "MOVE" || lost {
			return false
		}
		lost = true
		server.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	})
	if err := f.store.Put(t.Context(), "a/key", strings.NewReader("content")); err != nil || !lost {
		t.Fatalf("put: %v (lost: %v)", err, lost)
	}
	if got, err := targetstest.Read(t, f.store, "a/key"); err != nil || string(got) != "content" {
		t.Errorf("get: %q, %v", got, err)
	}
	wantNoPartials(t, f.dir)
}

func TestAServerThatTakesNoMore(t *testing.T) {
	f := newFront(t)
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	f.fails(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if r.Method == http.MethodPut {
			<-over
		}
		return r.Method == http.MethodPut
	})
	err := f.store.Put(t.Context(), "a/key", zeros{})
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("put: %v, want os.ErrDeadlineExceeded", err)
	}
	f.wantNothing(t, "a/key")
}

func TestAnAnswerThatIsCutOff(t *testing.T) {
	f := newFront(t)
	want := targetstest.Random(3 << 20)
	if err := f.store.Put(t.Context(), "key", bytes.NewReader(want)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		sent int // bytes of each answer
		want error
	}{"each after a MiB": {1 << 20, nil}, "at once": {0, io.ErrUnexpectedEOF}} {
		t.Run(name, func(t *testing.T) {
			f.fails(func(w http.ResponseWriter, r *http.Request, server http.Handler) bool {
				if r.Method != http.MethodGet {
					return false
				}
				whole := httptest.NewRecorder()
				server.ServeHTTP(whole, r)
				for name, values := range whole.Header() {
					w.Header()[name] = values
				}
				w.WriteHeader(whole.Code)
				_, _ = w.Write(whole.Body.Bytes()[:min(c.sent, whole.Body.Len())])
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			})
			got, err := targetstest.Read(t, f.store, "key")
			if !errors.Is(err, c.want) || c.want == nil && !bytes.Equal(got, want) {
				t.Errorf("got %d bytes, %v, want %v", len(got), err, c.want)
			}
		})
	}
}

func TestAServerThatKnowsNoRanges(t *testing.T) {
	f := newFront(t)
	if err := f.store.Put(t.Context(), "key", strings.NewReader("0123456789")); err != nil {
		t.Fatal(err)
	}
	f.fails(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool { r.Header.Del("Range"); return false })
	if _, err := f.store.Get(t.Context(), "key", 3, 2); err == nil || !strings.Contains(err.Error(), "Range") {
		t.Errorf("get: %v, want one about Range", err)
	}
	r, err := f.store.Get(t.Context(), "key", 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "01" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestATargetFolderThatIsGone(t *testing.T) {
	f := newFront(t)
	if err := os.RemoveAll(f.dir); err != nil {
		t.Fatal(err)
	}
	const want = "is its disk not mounted?"
	if err := f.store.Put(t.Context(), "a/b", strings.NewReader("x")); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("put: %v, want %q", err, want)
	}
	if _, err := f.store.Get(t.Context(), "a/b", 0, -1); errors.Is(err, fs.ErrNotExist) || err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("get: %v, want %q", err, want)
	}
	for _, err := range f.store.List(t.Context(), "a/") {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("list: %v, want %q", err, want)
		}
	}
}

func TestListingsOfAHostileServer(t *testing.T) {
	asked := &url.URL{Scheme: "https", Host: "nas", Path: "/dav/a b"}
	for href, want := range map[string]string{
		"/dav/a%20b/":              "",
		"/dav/a%20b/x%25":          "x%",
		"https://nas/dav/a%20b/x/": "x",
		"https://evil/dav/a%20b/x": "not in what it was asked for",
		"//evil/dav/a%20b/x":       "not in what it was asked for",
		"/dav/other":               "not in what it was asked for",
		"/dav/a%20b/../../etc":     "not in what it was asked for",
		"/dav/a%20b/x/y":           "not in what it was asked for",
		"/dav/a%20b/x%2Fy":         "not in what it was asked for",
		"mailto:x":                 "no address",
		"/dav/%zz":                 "no address",
	} {
		text := fmt.Sprintf(`<D:multistatus xmlns:D="DAV:"><D:response><D:href>%s</D:href></D:response></D:multistatus>`, href)
		found, err := decode(strings.NewReader(text), asked)
		if err != nil && (want == "" || !strings.Contains(err.Error(), want)) || err == nil && (len(found) != 1 || found[0].name != want) {
			t.Errorf("%s: %v, %v, want %q", href, found, err, want)
		}
		if _, err := decode(strings.NewReader(text[:len(text)-5]), asked); err == nil {
			t.Errorf("%s: no error for an answer that is cut off", href)
		}
	}
	endless := io.MultiReader(strings.NewReader(`<D:multistatus xmlns:D="DAV:"><!--`), zeros{})
	if _, err := decode(&bounded{r: endless, left: 1 << 20}, asked); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("an answer without an end: %v", err)
	}
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte("0"), len(p))), nil }

func TestURLs(t *testing.T) {
	for text, want := range map[string]string{
		"webdavs://me@nas/x?password-file=/p&ca-file=/c": "",
		"webdav://nas/x":                     "",
		"webdavs://me:hunter2@nas/x":         "a password does not belong in it",
		"webdavs://me@nas/x":                 "belong together",
		"webdavs://nas/x?password-file=/p":   "belong together",
		"webdavs://me@nas/?password-file=/p": "names no folder",
		"webdavs://me@nas/x?password-file=p": "absolute path",
		"webdavs://me@nas/x?pasword-file=/p": "did you mean password-file",
		"webdavs:///x":                       "it has to look like",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		err = CheckURL(u)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestWhatKilledPutsLeaveIsSwept(t *testing.T) {
	f := newFront(t)
	for name, age := range map[string]int{"old": 3, "young": 1} {
		left := filepath.Join(f.dir, targets.Partials, name)
		if err := os.WriteFile(left, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		then := time.Now().AddDate(0, 0, -age)
		if err := os.Chtimes(left, then, then); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.store.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(f.dir, targets.Partials))
	if err != nil || len(left) != 1 || left[0].Name() != "young" {
		t.Errorf("left: %v, %v, want young alone", left, err)
	}
}
