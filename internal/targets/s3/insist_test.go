package s3

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/targets/targetstest"
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

func TestAPartThatFailsForTooLongIsGivenUp(t *testing.T) {
	server := s3test.Start(t)
	s, f := through(t, server, rule{"part", always, s3test.Refuse(http.StatusServiceUnavailable, "SlowDown")})
	ticks := make(chan time.Time)
	go func() {
		for now := time.Now(); t.Context().Err() == nil; now = now.Add(time.Minute) {
			select {
			case ticks <- now:
			case <-t.Context().Done():
			}
		}
	}()
	s.insist, s.now = 20*time.Minute, func() time.Time { return <-ticks }
	err := s.Put(t.Context(), "large", bytes.NewReader(targetstest.Random(9<<20)))
	if err == nil || !strings.Contains(err.Error(), "SlowDown") {
		t.Errorf("put: %v, want what the server has said", err)
	}
	if n := f.Count("part"); n < 20 || n > 60 {
		t.Errorf("parts were sent %d times in 20 minutes", n)
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
