package s3

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// insistent is for parts: of an upload that is cut off all stays that is there, and what is lacking is sent again for far longer than
// anything else is tried. Not while the source is waited for, as then containers may be held until this target goes on, or is given up.
func (u *upload) insistent(awaited func() bool) func(*s3.Options) {
	s := u.store
	var failing time.Time
	pause := retry.BackoffDelayerFunc(func(attempt int, failure error) (time.Duration, error) {
		if failing.IsZero() {
			failing = s.now()
		}
		if attempt >= attempts && (awaited() || s.now().Sub(failing) >= s.insist) {
			return 0, failure
		}
		return s.backoff.BackoffDelay(min(attempt, attempts-1), failure) // beyond, there is no jitter
	})
	return func(o *s3.Options) { o.Retryer = endless(pause) }
}

// endless tries again until the pause is an error.
func endless(pause retry.BackoffDelayer) aws.Retryer {
	standard := retry.NewStandard(func(o *retry.StandardOptions) { o.Backoff, o.RateLimiter = pause, ratelimit.None })
	return retry.AddWithMaxAttempts(retry.AddWithErrorCodes(standard, codeConflict), 0)
}
