package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/targets/targetstest"
)

// blackhole is a way to a server on which some of the first connections, in turn, fall silent: nothing more is taken nor given, and
// nothing is closed.
type blackhole struct {
	behind string
	holes  atomic.Int32 // connections yet to come that fall silent
	up     int64        // bytes that such a connection lets through to the server
	down   int64        // and back
	fell   atomic.Int32
	end    chan struct{}
}

func (b *blackhole) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go b.pass(c.(*net.TCPConn), b.holes.Add(-1) >= 0)
	}
}

func (b *blackhole) pass(client *net.TCPConn, hole bool) {
	defer client.Close()
	_ = client.SetReadBuffer(64 << 10) // else a part may be under way at once
	c, err := net.Dial("tcp", b.behind)
	if err != nil {
		return
	}
	server := c.(*net.TCPConn)
	defer server.Close()
	over := make(chan struct{}, 2)
	copying := func(to, from *net.TCPConn, limit int64) {
		if hole {
			if n, _ := io.CopyN(to, from, limit); n == limit {
				b.fell.Add(1)
				<-b.end
			}
		} else {
			_, _ = io.Copy(to, from)
		}
		over <- struct{}{}
	}
	go copying(server, client, b.up)
	go copying(client, server, b.down)
	<-over
}

// behindHoles gives a store whose way to a server has holes.
func behindHoles(t *testing.T, server *s3test.Server, bucket string, p patience, holes int32, up, down int64) (*Store, *blackhole) {
	t.Helper()
	endpoint, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &blackhole{behind: endpoint.Host, up: up, down: down, end: make(chan struct{})}
	b.holes.Store(holes)
	go b.serve(l)
	t.Cleanup(func() { l.Close(); close(b.end) })
	u := server.URL(bucket)
	query := u.Query()
	query.Set("endpoint", "http://"+l.Addr().String())
	u.RawQuery = query.Encode()
	return openWith(t, u, p), b
}

const forever = 1 << 40

// short is enough for a server on a busy machine, and little for a test.
func short() patience {
	p := usual()
	p.answer, p.silence, p.insist = 2*time.Second, time.Second, 0
	return p
}

func TestConnectionsThatFallSilentAreMadeAgain(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket("bucket")
	there := openAt(t, server.URL("bucket"))
	if err := there.Put(t.Context(), "there", bytes.NewReader(targetstest.Random(targetstest.Large))); err != nil {
		t.Fatal(err)
	}
	put := func(key string, size int) func(*Store) error {
		return func(s *Store) error { return s.Put(t.Context(), key, bytes.NewReader(targetstest.Random(size))) }
	}
	get := func(s *Store) error {
		got, err := targetstest.Read(t, s, "there")
		if err == nil && !bytes.Equal(got, targetstest.Random(targetstest.Large)) {
			return errors.New("other bytes came")
		}
		return err
	}
	for name, c := range map[string]struct {
		holes    int32
		up, down int64
		do       func(*Store) error
	}{
		"in the middle of a part":           {1, 3 << 20, forever, put("part", targetstest.Large)},
		"in the middle of each first part":  {2, 3 << 20, forever, put("parts", targetstest.Large)},
		"in the middle of a small object":   {1, 100_000, forever, put("small", 4<<20)},
		"before an answer":                  {1, forever, 0, put("answer", 10)},
		"at the very beginning":             {2, 0, 0, put("beginning", 10)},
		"in the middle of what is read":     {1, forever, 5 << 20, get},
		"again and again":                   {4, forever, 5 << 20, get},
		"in the middle of an answer's head": {1, forever, 100, get},
		"in the middle of a listing": {1, forever, 500, func(s *Store) error {
			for _, err := range s.List(t.Context(), "") {
				if err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, b := behindHoles(t, server.WithT(t), "bucket", short(), c.holes, c.up, c.down)
			if err := c.do(s); err != nil {
				t.Error(err)
			}
			if b.fell.Load() == 0 {
				t.Error("no connection has fallen silent")
			}
		})
	}
}

func TestAServerThatIsSilentForGoodIsGivenUp(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket("bucket")
	p := short()
	p.answer, p.silence = 200*time.Millisecond, 200*time.Millisecond
	s, _ := behindHoles(t, server, "bucket", p, always, forever, 0)
	began := time.Now()
	for what, err := range map[string]error{
		"check": s.Check(t.Context()),
		"put":   s.Put(t.Context(), "key", strings.NewReader("x")),
	} {
		if err == nil || !strings.Contains(err.Error(), "the server has not answered for 200ms") {
			t.Errorf("%s: %v, want it to say that the server does not answer", what, err)
		}
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	s, _ = behindHoles(t, server, "bucket", p, always, 1<<20, forever)
	if err := s.Put(t.Context(), "large", bytes.NewReader(targetstest.Random(targetstest.Large))); err == nil || !strings.Contains(err.Error(), "has taken nothing for 200ms") {
		t.Errorf("put: %v, want it to say that the server takes nothing", err)
	}
}

// answering is an HTTP client that does as it likes with each request.
type answering func(*http.Request) (*http.Response, error)

func (a answering) Do(r *http.Request) (*http.Response, error) { return a(r) }

// Whoever reads slowly, or does not come to read at all, is not taken for a server that is silent.
func TestASlowReaderIsNoSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var request *http.Request
		w := watched{answering(func(r *http.Request) (*http.Response, error) {
			request = r
			return &http.Response{Body: io.NopCloser(strings.NewReader("what is read"))}, nil
		}), time.Minute, time.Second}
		resp, err := w.Do(must(http.NewRequestWithContext(t.Context(), http.MethodGet, "http://server/", nil)))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(24 * time.Hour)
			if _, err := io.ReadFull(resp.Body, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(24 * time.Hour)
		if err := context.Cause(request.Context()); err != nil {
			t.Errorf("the request was given up: %v", err)
		}
		resp.Body.Close()
		if request.Context().Err() == nil {
			t.Error("the request goes on when nobody reads it any more")
		}
	})
}

// A line may be as slow as it likes while something moves.
func TestASlowLineIsNoSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watched{answering(func(r *http.Request) (*http.Response, error) {
			for range 1000 {
				time.Sleep(time.Second - 1)
				if _, err := io.ReadFull(r.Body, make([]byte, 1)); err != nil {
					return nil, err
				}
			}
			time.Sleep(time.Second - 1)
			return &http.Response{Body: http.NoBody}, context.Cause(r.Context())
		}), time.Minute, time.Second}
		resp, err := w.Do(must(http.NewRequestWithContext(t.Context(), http.MethodPut, "http://server/", strings.NewReader(strings.Repeat("x", 1000)))))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
