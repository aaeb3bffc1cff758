// Package s3 is a store in a bucket of S3 or of a server that speaks its protocol. It is the only door to the AWS SDK.
//
// What may pass by itself is tried again with growing pauses: throttling, errors of the server, broken connections. What Put keeps
// in memory is bounded: some 32 MiB, and 64 MiB for objects beyond 16 GiB. The settings of a bucket, and old uploads of writers
// that were killed, are for others to look after.
package s3

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/backupd/backupd/internal/targets"
)

// Store is a targets.Store.
type Store struct {
	client  *s3.Client
	patient *awshttp.BuildableClient // for calls that the server may need minutes to answer
	at      location
	log     *slog.Logger
	backoff retry.BackoffDelayer // pauses between attempts

	spare sync.Pool // of *[smallestPart]byte

	// unconditional says that the server was found, or said in the URL, not to know If-None-Match.
	unconditional atomic.Bool
}

// Options are what the URL does not say.
type Options struct {
	Log *slog.Logger // nil for none
}

// Open makes a store of a URL like
//
//	s3://bucket/prefix?endpoint=https://s3.example.com&region=eu-1&path-style=true
//
// with credentials by the SDK's own chain: environment, shared files, roles. The parameters, all optional: endpoint and path-style
// for servers other than AWS; region; part-size and concurrency of uploads, for servers that want equal parts, or for more speed
// at the price of memory; conditional=false for servers that mishandle If-None-Match; checksum=md5 or none for those that do not know
// the newer ones.
//
// It does not ask the server anything: that is for Check.
func Open(ctx context.Context, u *url.URL, o Options) (*Store, error) {
	return open(ctx, u, o, retry.NewExponentialJitterBackoff(20*time.Second))
}

func open(ctx context.Context, u *url.URL, o Options, backoff retry.BackoffDelayer) (*Store, error) {
	at, err := parse(u)
	if err != nil {
		return nil, fmt.Errorf("target URL %s: %w", bare(u), err)
	}
	httpClient := newHTTPClient(time.Minute)
	cfg, err := config.LoadDefaultConfig(ctx, func(o *config.LoadOptions) error {
		o.Region = at.region // empty: what the chain says
		o.HTTPClient = httpClient
		o.Retryer = func() aws.Retryer { return newRetryer(backoff) }
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load the settings of the AWS SDK: %w", err)
	}
	cfg.Credentials = credentials{cfg.Credentials}
	s := &Store{client: newClient(cfg, at), patient: newHTTPClient(15 * time.Minute), at: at, log: o.Log, backoff: backoff}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.unconditional.Store(!at.conditional)
	return s, nil
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

// newHTTPClient waits so long for the answer to a request that was sent. It has to be the SDK's kind of client, as with any other
// AWS_CA_BUNDLE in the environment is an error.
func newHTTPClient(answer time.Duration) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = 10 * time.Second }).
		WithTransportOptions(func(t *http.Transport) { t.ResponseHeaderTimeout = answer })
}

// attempts is how often anything is tried.
const attempts = 5

func newRetryer(backoff retry.BackoffDelayer) aws.Retryer {
	standard := retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.Backoff = attempts, backoff })
	return retry.AddWithErrorCodes(standard, "ConditionalRequestConflict") // somebody deletes what is being written
}

// key gives the object's key in the bucket.
func (s *Store) key(key string) *string { return aws.String(s.at.prefix + key) }

// Check lists what is in the bucket, one object of it, as that brings the server's reasons where HeadBucket's answer has no text.
func (s *Store) Check(ctx context.Context) error {
	_, err := s.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &s.at.bucket, Prefix: &s.at.prefix, MaxKeys: aws.Int32(1)})
	if err != nil {
		return s.wrap("list", "", err)
	}
	return nil
}

// Delete is described at targets.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := targets.CheckKey(key); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.at.bucket, Key: s.key(key)})
	if err != nil && !isAbsent(err) {
		return s.wrap("delete", key, err)
	}
	return nil
}

var (
	_ targets.Store   = (*Store)(nil)
	_ targets.Checker = (*Store)(nil)
)
