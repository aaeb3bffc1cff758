package s3

import (
	"io"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/backupd/backupd/internal/targets"
)

// insistence is how long the requests of one upload are tried: far longer than any other, as all that is there stays, and what is lacking is
// all that has to be sent. A request is given up when it has failed, and nothing else of the upload got on, for that long. Not while the
// source is waited for, as then containers may be held until this target goes on, or is given up.
type insistence struct {
	store  *Store
	source io.Reader

	mu    sync.Mutex
	gotOn time.Time // when a part last arrived; parts alone are sent beside others
}

// arrived notes that the upload gets on.
func (i *insistence) arrived() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.gotOn = i.store.now()
}

// insist is for one request.
func (i *insistence) insist(o *s3.Options) {
	var failing time.Time
	pause := retry.BackoffDelayerFunc(func(attempt int, failure error) (time.Duration, error) {
		if failing.IsZero() {
			failing = i.store.now()
		}
		if attempt >= attempts && (i.awaited() || i.stuck(failing)) {
			return 0, failure
		}
		return i.store.backoff.BackoffDelay(min(attempt, attempts-1), failure) // beyond, there is no jitter
	})
	o.Retryer = endless(pause)
}

// awaited tells whether the source waits until parts are sent.
func (i *insistence) awaited() bool {
	again, ok := i.source.(targets.Rereader)
	return ok && again.Awaited()
}

// stuck tells whether nothing has got on for too long, of an upload of which a request fails since then.
func (i *insistence) stuck(failing time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.gotOn.After(failing) {
		failing = i.gotOn
	}
	return i.store.now().Sub(failing) >= i.store.insist
}

// endless tries again until the pause is an error.
func endless(pause retry.BackoffDelayer) aws.Retryer {
	standard := retry.NewStandard(func(o *retry.StandardOptions) { o.Backoff, o.RateLimiter = pause, ratelimit.None })
	return retry.AddWithMaxAttempts(retry.AddWithErrorCodes(standard, codeConflict), 0)
}
