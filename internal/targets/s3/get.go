package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/backupd/backupd/internal/targets"
)

// Get is described at targets.Store. A connection that breaks while the object is read is made again, a few times, from where it
// broke.
func (s *Store) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := targets.CheckKey(key); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	if off < 0 {
		return nil, fmt.Errorf("get %s: offset %d: %w", key, off, fs.ErrInvalid)
	}
	r := &reader{store: s, ctx: ctx, key: key, off: off, end: targets.End(targets.Unknown, off, n)}
	if err := r.open(); err != nil {
		return nil, s.wrap(opGet, key, err)
	}
	return r, nil
}

// reader reads an object from off to end. It keeps ctx, as the body that it reads does.
type reader struct {
	store    *Store
	ctx      context.Context
	key      string
	off, end int64
	etag     *string       // of what was read first, so that nothing else is read on
	body     io.ReadCloser // nil when there is nothing to read
	failures int           // since the last byte
}

// open asks for what is left, and learns what the object's end is.
func (r *reader) open() error {
	if r.off == r.end { // no range says that; but whether the object is there is to be said
		_, err := r.store.client.HeadObject(r.ctx, &s3.HeadObjectInput{Bucket: &r.store.at.bucket, Key: r.store.key(r.key)})
		return err
	}
	out, err := r.store.client.GetObject(r.ctx, &s3.GetObjectInput{
		Bucket: &r.store.at.bucket, Key: r.store.key(r.key), Range: r.rangeHeader(), IfMatch: r.etag,
	})
	if _, status := answer(err); status == http.StatusRequestedRangeNotSatisfiable && r.etag == nil {
		r.end = r.off // all that is there lies before
		return nil
	}
	if err != nil {
		return err
	}
	if err := r.check(out); err != nil {
		return errors.Join(err, out.Body.Close())
	}
	r.etag, r.body = out.ETag, out.Body
	return nil
}

// rangeHeader is nil for all of an object, as an empty one satisfies no range.
func (r *reader) rangeHeader() *string {
	switch {
	case r.end < targets.Unknown:
		return aws.String(fmt.Sprintf("bytes=%d-%d", r.off, r.end-1))
	case r.off > 0:
		return aws.String(fmt.Sprintf("bytes=%d-", r.off))
	}
	return nil
}

// check makes sure that an answer is about the bytes that were asked for, and learns from it where the object ends.
func (r *reader) check(out *s3.GetObjectOutput) error {
	if out.ContentLength == nil {
		return errors.New("the server does not say how long its answer is")
	}
	length := *out.ContentLength
	first, size := int64(0), length
	if out.ContentRange != nil {
		var last int64
		if _, err := fmt.Sscanf(*out.ContentRange, "bytes %d-%d/%d", &first, &last, &size); err != nil {
			return fmt.Errorf("the server answers with the range %q", *out.ContentRange)
		}
	}
	end := min(r.end, size)
	if first != r.off || length != end-r.off {
		return fmt.Errorf("the server answers with %d bytes from %d of %d, where those from %d to %d were asked for", length, first, size, r.off, end)
	}
	r.end = end
	return nil
}

func (r *reader) Read(p []byte) (int, error) {
	for {
		if r.off == r.end {
			return 0, io.EOF
		}
		n, err := r.body.Read(p)
		r.off += int64(n)
		if n > 0 {
			r.failures = 0
			return n, nil // an error comes again, or does no harm
		}
		if err == nil {
			return 0, nil
		}
		if err := r.resume(err); err != nil {
			return 0, err
		}
	}
}

// resume opens the object again where reading it failed.
func (r *reader) resume(failure error) error {
	r.failures++
	if r.ctx.Err() != nil {
		return r.store.wrap(opRead, r.key, context.Cause(r.ctx))
	}
	if r.failures == attempts {
		return r.store.wrap(opRead, r.key, fmt.Errorf("%w (%w), %d times in a row", io.ErrUnexpectedEOF, failure, attempts))
	}
	pause, err := r.store.backoff.BackoffDelay(r.failures-1, failure)
	if err != nil {
		return err
	}
	select {
	case <-r.ctx.Done():
		return r.store.wrap(opRead, r.key, context.Cause(r.ctx))
	case <-time.After(pause):
	}
	// What it was cut off with is of no interest any more.
	_ = r.body.Close()
	if err := r.open(); err != nil {
		return r.store.wrap(opRead, r.key, err)
	}
	return nil
}

func (r *reader) Close() error {
	if r.body == nil {
		return nil
	}
	return r.body.Close()
}
