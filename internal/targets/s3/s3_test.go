package s3

import (
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"

	"github.com/backupd/backupd/internal/targets"
	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/targets/targetstest"
)

// openAt is Open without pauses between attempts.
func openAt(t *testing.T, u *url.URL) *Store {
	t.Helper()
	p := usual()
	p.insist = 0 // without pauses, it would be attempts without number
	return openWith(t, u, p)
}

func openWith(t *testing.T, u *url.URL, p patience) *Store {
	t.Helper()
	p.backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
	s, err := open(t.Context(), u, Options{Now: time.Now}, p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	server := s3test.Start(t)
	for name, c := range map[string]struct {
		parameters string
		lacks      []string
	}{
		"conditional":   {parameters: ""},
		"unconditional": {parameters: "&conditional=false", lacks: []string{targetstest.OneWins}},
		"equal parts":   {parameters: "&part-size=5MiB&concurrency=4"},
		"md5 checksums": {parameters: "&checksum=md5"},
	} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int32
			targetstest.Run(t, func(t *testing.T) targets.Store {
				bucket := fmt.Sprintf("%s-%d", strings.ReplaceAll(name[:5], " ", "-"), n.Add(1))
				u := server.Bucket(bucket)
				u.RawQuery += c.parameters
				t.Cleanup(func() { server.WantNoUploads(bucket) })
				return openAt(t, u)
			}, c.lacks...)
		})
	}
}
