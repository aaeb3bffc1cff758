package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/targets/targetstest"
	"github.com/backupd/backupd/internal/testenv"
)

// behindHoles gives a store on whose way to a server the first connections, so many of them in turn, fall silent.
func behindHoles(t *testing.T, server *s3test.Server, bucket string, p patience, holes int, hole testenv.Break) (*Store, *testenv.Wire) {
	t.Helper()
	hole.How = testenv.Silent
	w := testenv.NewWire(t, strings.TrimPrefix(server.Endpoint, "http://"))
	w.Becomes(testenv.Speed{}, slices.Repeat([]testenv.Break{hole}, holes)...)
	return openWith(t, endpoint(server.URL(bucket), "http://"+w.Address), p), w
}

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
	up := func(after int64) testenv.Break { return testenv.Break{After: after, Up: true} }
	down := func(after int64) testenv.Break { return testenv.Break{After: after} }
	for name, c := range map[string]struct {
		holes int
		hole  testenv.Break
		do    func(*Store) error
	}{
		"in the middle of a part":           {1, up(3 << 20), put("part", targetstest.Large)},
		"in the middle of each first part":  {2, up(3 << 20), put("parts", targetstest.Large)},
		"in the middle of a small object":   {1, up(100_000), put("small", 4<<20)},
		"before an answer":                  {1, down(0), put("answer", 10)},
		"at the very beginning":             {2, up(0), put("beginning", 10)},
		"in the middle of what is read":     {1, down(5 << 20), get},
		"again and again":                   {4, down(5 << 20), get},
		"in the middle of an answer's head": {1, down(100), get},
		"in the middle of a listing": {1, down(500), func(s *Store) error {
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
			s, w := behindHoles(t, server.WithT(t), "bucket", short(), c.holes, c.hole)
			if err := c.do(s); err != nil {
				t.Error(err)
			}
			if w.Broken() == 0 {
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
	s, _ := behindHoles(t, server, "bucket", p, 100, testenv.Break{})
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
	s, _ = behindHoles(t, server, "bucket", p, 100, testenv.Break{After: 1 << 20, Up: true})
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
