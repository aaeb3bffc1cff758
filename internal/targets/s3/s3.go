// Package s3 is a store in a bucket of S3 or of a server that speaks its protocol. It is the only door to the AWS SDK.
//
// What may pass by itself is tried again with growing pauses: throttling, errors of the server, connections that are broken or on which
// nothing moves; what belongs to an upload for far longer than all else. What Put keeps
// in memory is bounded: some 32 MiB, and 64 MiB for objects beyond 8 GiB, unless the URL asks for more. Parts of more than 32 MiB, which
// objects beyond some 50 GiB take, stay where they come from until they are sent (targets.Rereader); without that, as from another target,
// objects end at 280 GiB, or 30 GiB in 1,000 parts. The settings of a bucket are for others to look after.
package s3

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/backupd/backupd/internal/targets"
)

// Store is a targets.Store.
type Store struct {
	client  *s3.Client
	patient watched // for calls that the server may need minutes to answer
	at      location
	log     *slog.Logger
	now     func() time.Time
	backoff retry.BackoffDelayer // pauses between attempts
	insist  time.Duration        // for which an upload that fails is tried

	spare sync.Pool // of *[smallestPart]byte

	// unconditional says that the server was found, or said in the URL, not to know If-None-Match.
	unconditional atomic.Bool
}

// Options are what the URL does not say.
type Options struct {
	Log *slog.Logger     // nil for none
	Now func() time.Time // by which objects are locked, and uploads given up

	// Silence is after how long a connection on which nothing moves is given up, and all other time-outs and pauses are in proportion; 0
	// for a minute.
	Silence time.Duration
}

// Open makes a store of a URL like
//
//	s3://bucket/prefix?endpoint=https://s3.example.com&region=eu-1&path-style=true
//
// with credentials by the SDK's own chain: environment, shared files, roles. README.md describes the parameters, all of them optional.
//
// It does not ask the server anything: that is for Check.
func Open(ctx context.Context, u *url.URL, o Options) (*Store, error) {
	return open(ctx, u, o, usual().scaled(o.Silence))
}

// CheckURL finds what is wrong with a URL, without doing anything.
func CheckURL(u *url.URL) error {
	if _, err := parse(u); err != nil {
		return fmt.Errorf("target URL %s: %w", bare(u), err)
	}
	return nil
}

func open(ctx context.Context, u *url.URL, o Options, p patience) (*Store, error) {
	at, err := parse(u)
	if err != nil {
		return nil, fmt.Errorf("target URL %s: %w", bare(u), err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	cfg, err := configure(ctx, at, p, o.Log)
	if err != nil {
		return nil, fmt.Errorf("target URL %s: %w", bare(u), err)
	}
	plain := cfg.HTTPClient
	cfg.HTTPClient = watched{plain, p.answer, p.silence}
	s := &Store{client: newClient(cfg, at), patient: watched{plain, p.assemble, p.silence}, at: at, log: o.Log, now: o.Now, backoff: p.backoff, insist: p.insist}
	s.unconditional.Store(!at.conditional)
	return s, nil
}

// configure gives the SDK's settings, by the URL where that says something, else by the SDK's own chain.
func configure(ctx context.Context, at location, p patience, log *slog.Logger) (aws.Config, error) {
	client, err := newHTTPClient(at.caFile, p)
	if err != nil {
		return aws.Config{}, err
	}
	cfg, err := config.LoadDefaultConfig(ctx, func(o *config.LoadOptions) error {
		o.Region = at.region
		o.HTTPClient = client
		o.Retryer = func() aws.Retryer { return newRetryer(p.backoff) }
		o.Logger = logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
			log.Debug("the AWS SDK says", "message", fmt.Sprintf(format, v...))
		})
		return nil
	})
	if err != nil {
		return aws.Config{}, fmt.Errorf("load the settings of the AWS SDK: %w", err)
	}
	cfg.Credentials = credentials{cfg.Credentials}
	return cfg, nil
}

// bare is a URL without what may be secret in it.
func bare(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

func newClient(cfg aws.Config, at location) *s3.Client {
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		if o.Region == "" {
			o.Region = "us-east-1" // what servers other than AWS's use, and AWS's own answer with the right one
		}
		if at.endpoint != "" {
			o.BaseEndpoint = &at.endpoint
		}
		o.UsePathStyle = at.pathStyle
		// We give checksums ourselves, as plain headers: the SDK's own way is a trailer, which simple servers refuse.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
}

// codeConflict is of a key that somebody deletes while it is written.
const codeConflict = "ConditionalRequestConflict"

// attempts is how often anything is tried, and what belongs to an upload at least.
const attempts = 5

func newRetryer(backoff retry.BackoffDelayer) aws.Retryer {
	standard := retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.Backoff = attempts, backoff })
	return retry.AddWithErrorCodes(standard, codeConflict)
}

// key gives the object's key in the bucket.
func (s *Store) key(key string) *string { return aws.String(s.at.prefix + key) }

var (
	_ targets.Store     = (*Store)(nil)
	_ targets.Checker   = (*Store)(nil)
	_ targets.Abandoner = (*Store)(nil)
	_ targets.Keeper    = (*Store)(nil)
	_ targets.Extender  = (*Store)(nil)
)
