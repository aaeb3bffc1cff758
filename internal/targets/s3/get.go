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
	o := &object{store: s, ctx: ctx, key: key, end: targets.End(targets.Unknown, off, n)}
	body, err := o.open(off)
	if err != nil {
		return nil, s.wrap(opGet, key, err)
	}
	return &targets.Reading{
		Ctx: ctx, Off: off, End: o.end, Body: body, Attempts: attempts, Again: o.again,
		Wrap: func(err error) error { return s.wrap(opRead, key, err) },
	}, nil
}

// object is what is read. It keeps ctx, as its bodies do.
type object struct {
	store *Store
	ctx   context.Context
	key   string
	end   int64   // of what is to be read
	etag  *string // of what was read first, so that nothing else is read on
}

// open asks for what is there from off on, and learns what the object's end is.
func (o *object) open(off int64) (io.ReadCloser, error) {
	if off == o.end { // no range says that; but whether the object is there is to be said
		_, err := o.store.client.HeadObject(o.ctx, &s3.HeadObjectInput{Bucket: &o.store.at.bucket, Key: o.store.key(o.key)})
		return nil, err
	}
	out, err := o.store.client.GetObject(o.ctx, &s3.GetObjectInput{
		Bucket: &o.store.at.bucket, Key: o.store.key(o.key), Range: o.rangeHeader(off), IfMatch: o.etag,
	})
	if _, status := answer(err); status == http.StatusRequestedRangeNotSatisfiable && o.etag == nil {
		o.end = off // all that is there lies before
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := o.check(off, out); err != nil {
		return nil, errors.Join(err, out.Body.Close())
	}
	o.etag = out.ETag
	return out.Body, nil
}

// rangeHeader is nil for all of an object, as an empty one satisfies no range.
func (o *object) rangeHeader(off int64) *string {
	switch {
	case o.end < targets.Unknown:
		return aws.String(fmt.Sprintf("bytes=%d-%d", off, o.end-1))
	case off > 0:
		return aws.String(fmt.Sprintf("bytes=%d-", off))
	}
	return nil
}

// check makes sure that an answer is about the bytes that were asked for, and learns from it where the object ends.
func (o *object) check(off int64, out *s3.GetObjectOutput) error {
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
	end := min(o.end, size)
	if first != off || length != end-off {
		return fmt.Errorf("the server answers with %d bytes from %d of %d, where those from %d to %d were asked for", length, first, size, off, end)
	}
	o.end = end
	return nil
}

// again opens the object after a pause.
func (o *object) again(off int64, failed int, failure error) (io.ReadCloser, error) {
	pause, err := o.store.backoff.BackoffDelay(failed-1, failure)
	if err != nil {
		return nil, err
	}
	select {
	case <-o.ctx.Done():
		return nil, context.Cause(o.ctx)
	case <-time.After(pause):
	}
	return o.open(off)
}
