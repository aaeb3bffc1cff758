package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// watched is an HTTP client that gives up a request when its server does nothing for too long, as a connection is then as good as
// broken, though TCP keeps it for hours. There is no limit to how long a request may take while bytes move.
type watched struct {
	client  aws.HTTPClient
	answer  time.Duration // for an answer to begin, once all of the request is on its way
	silence time.Duration // for more bytes to move, in either direction
}

func (w watched) Do(req *http.Request) (*http.Response, error) {
	ctx, end := context.WithCancelCause(req.Context())
	v := newVigil(end)
	req = req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody && req.ContentLength != 0 {
		req.Body = &sending{body: req.Body, vigil: v, limits: w}
	}
	v.expect(w.answer, "has not answered")
	resp, err := w.client.Do(req)
	v.over()
	if err != nil {
		if why := (stalled{}); errors.As(context.Cause(ctx), &why) {
			err = why
		}
		end(nil)
		return nil, err
	}
	resp.Body = &receiving{body: resp.Body, ctx: ctx, end: end, vigil: newVigil(end), limit: w.silence}
	return resp, nil
}

// sending is the body of a request. Whoever sends it reads on when the server has taken what there was before.
type sending struct {
	body   io.ReadCloser
	vigil  *vigil
	limits watched
}

func (s *sending) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if err != nil {
		s.vigil.expect(s.limits.answer, "has not answered")
	} else {
		s.vigil.expect(s.limits.silence, "has taken nothing")
	}
	return n, err
}

func (s *sending) Close() error { return s.body.Close() }

// receiving is the body of an answer. Nothing is expected of the server while nobody reads.
type receiving struct {
	body  io.ReadCloser
	ctx   context.Context
	end   context.CancelCauseFunc
	vigil *vigil
	limit time.Duration
}

func (r *receiving) Read(p []byte) (int, error) {
	r.vigil.expect(r.limit, "has sent nothing")
	n, err := r.body.Read(p)
	r.vigil.rest()
	if why := (stalled{}); err != nil && err != io.EOF && errors.As(context.Cause(r.ctx), &why) {
		err = why
	}
	return n, err
}

func (r *receiving) Close() error {
	r.vigil.over()
	defer r.end(nil)
	return r.body.Close()
}

// vigil ends a request when what is expected does not come.
type vigil struct {
	mu    sync.Mutex
	timer *time.Timer
	why   stalled
	done  bool
}

func newVigil(end context.CancelCauseFunc) *vigil {
	v := &vigil{}
	v.timer = time.AfterFunc(time.Hour, func() { end(v.reason()) })
	v.timer.Stop()
	return v
}

func (v *vigil) reason() stalled {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.why
}

// expect begins to wait, instead of whatever was waited for before.
func (v *vigil) expect(limit time.Duration, otherwise string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.done {
		v.why = stalled{otherwise, limit}
		v.timer.Reset(limit)
	}
}

// rest waits for nothing.
func (v *vigil) rest() { v.timer.Stop() }

// over waits for nothing any more.
func (v *vigil) over() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done = true
	v.timer.Stop()
}

// stalled is the error of a server that does nothing. It is a net.Error that may pass by itself.
type stalled struct {
	what  string
	limit time.Duration
}

func (s stalled) Error() string   { return fmt.Sprintf("the server %s for %s", s.what, s.limit) }
func (s stalled) Timeout() bool   { return true }
func (s stalled) Temporary() bool { return true }
