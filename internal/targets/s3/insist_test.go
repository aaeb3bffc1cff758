package s3

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/targets/targetstest"
	"github.com/backupd/backupd/internal/testenv"
)

// TestAnUploadThatIsCutOffGoesOn wants parts that fail for long to be sent again, and those that are there to stay.
func TestAnUploadThatIsCutOffGoesOn(t *testing.T) {
	server := s3test.Start(t)
	reset := func(http.Handler, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for name, fault := range map[string]s3test.Doing{
		"throttled": s3test.Refuse(http.StatusServiceUnavailable, "SlowDown"), "reset": reset, "without an answer": s3test.LoseAnswer,
	} {
		t.Run(name, func(t *testing.T) {
			const failures = 5 * attempts
			whole := func(pass http.Handler, w http.ResponseWriter, r *http.Request) { pass.ServeHTTP(w, r) }
			s, f := through(t, server, rule{"part", 1, whole}, rule{"part", failures, fault})
			s.insist = time.Minute
			want := targetstest.Random(30 << 20)
			if err := s.Put(t.Context(), "large", bytes.NewReader(want)); err != nil {
				t.Fatal(err)
			}
			if got, err := targetstest.Read(t, s, "large"); err != nil || !bytes.Equal(got, want) {
				t.Errorf("get: %d bytes, %v, want the %d that were put", len(got), err, len(want))
			}
			if created, sent := f.Count("create"), f.Count("part"); created != 1 || sent != 4+failures {
				t.Errorf("%d uploads and %d parts were sent, want 1 and %d", created, sent, 4+failures)
			}
		})
	}
}

// TestAnUploadGoesOnOnceItsServerIsBack has the server be gone when each kind of request of an upload comes.
func TestAnUploadGoesOnOnceItsServerIsBack(t *testing.T) {
	server := s3test.Start(t)
	for operation, size := range map[string]int{"put": 10, "create": targetstest.Large, "part": targetstest.Large, "complete": targetstest.Large, "head": 10} {
		t.Run(operation, func(t *testing.T) {
			s, w := outage(t, server, operation, 9*time.Minute)
			want := targetstest.Random(size)
			if err := s.Put(t.Context(), "key", bytes.NewReader(want)); err != nil {
				t.Fatal(err)
			}
			if !w.mended.Load() {
				t.Error("the server was never gone")
			}
			if got, err := targetstest.Read(t, s, "key"); err != nil || !bytes.Equal(got, want) {
				t.Errorf("get: %d bytes, %v, want the %d that were put", len(got), err, size)
			}
		})
	}
}

func TestAnUploadWhoseServerStaysAwayIsGivenUp(t *testing.T) {
	server := s3test.Start(t)
	for operation, size := range map[string]int{"put": 10, "part": targetstest.Large} {
		t.Run(operation, func(t *testing.T) {
			s, w := outage(t, server, operation, 24*time.Hour)
			if err := s.Put(t.Context(), "key", bytes.NewReader(targetstest.Random(size))); err == nil || !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("put: %v, want why it was given up", err)
			}
			if passed := time.Duration(w.passed.Load()); passed < 10*time.Minute || passed > time.Hour { // several parts wait at once
				t.Errorf("it was given up after %s", passed)
			}
			w.mend() // what is left of it goes with the bucket
			if _, err := targetstest.Read(t, s, "key"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("get: %v, want fs.ErrNotExist", err)
			}
		})
	}
}

// interrupted is a wire to a server that goes away for some time, which passes with the pauses between attempts.
type interrupted struct {
	*testenv.Wire
	t      *testing.T
	passed atomic.Int64 // a time.Duration
	mended atomic.Bool
}

func (w *interrupted) mend() {
	if !w.mended.Swap(true) {
		if err := w.Mend(); err != nil {
			w.t.Error(err)
		}
	}
}

// outage begins with the first request for an operation.
func outage(t *testing.T, server *s3test.Server, operation string, lasting time.Duration) (*Store, *interrupted) {
	const pause = 10 * time.Second
	w := &interrupted{t: t}
	var once sync.Once
	goes := func(http.Handler, http.ResponseWriter, *http.Request) {
		once.Do(w.Cut)
		panic(http.ErrAbortHandler)
	}
	f := server.WithT(t).Front(s3test.Rule{Operation: operation, Times: 1, Do: goes})
	w.Wire = testenv.NewWire(t, strings.TrimPrefix(f.Endpoint, "http://"))
	began := time.Now()
	s := openWith(t, endpoint(server.Bucket(strings.ToLower("bucket-"+rand.Text())), "http://"+w.Address), usual())
	s.now = func() time.Time { return began.Add(time.Duration(w.passed.Load())) }
	s.backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) {
		if w.passed.Add(int64(pause)) >= int64(lasting) {
			w.mend()
		}
		return 0, nil
	})
	return s, w
}

// TestAPartIsTriedWhileOthersArrive has one part fail for far longer than an upload that does not get on is tried, and the others take their
// time.
func TestAPartIsTriedWhileOthersArrive(t *testing.T) {
	var now time.Time
	i := insistence{store: &Store{now: func() time.Time { return now }, insist: 10 * time.Minute}}
	failing := now
	for range 10 {
		now = now.Add(9 * time.Minute)
		if i.stuck(failing) {
			t.Fatalf("it is given up after %s, and parts have arrived", now.Sub(failing))
		}
		i.arrived()
	}
	if now = now.Add(10 * time.Minute); !i.stuck(failing) {
		t.Error("it is not given up though nothing arrives")
	}
	if i.stuck(now) {
		t.Error("what fails for the first time is given up")
	}
}

// Containers may be held while the spool is full.
func TestNoPartIsInsistedOnWhileTheSpoolIsFull(t *testing.T) {
	server := s3test.Start(t)
	s, f := through(t, server, rule{"part", always, s3test.Refuse(http.StatusServiceUnavailable, "SlowDown")})
	s.insist = time.Hour
	s.backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 20 * time.Millisecond, nil }) // the spool fills up meanwhile
	if _, err := putThrough(t, s, 1<<20, 60<<20, false); err == nil || !strings.Contains(err.Error(), "SlowDown") {
		t.Errorf("put: %v, want what the server has said", err)
	}
	if n := f.Count("part"); n > 10*attempts {
		t.Errorf("parts were sent %d times", n)
	}
}
