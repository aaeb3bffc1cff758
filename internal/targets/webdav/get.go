package webdav

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/targets"
)

// Get is described at targets.Store.
func (s *Store) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := targets.CheckUnreserved(key); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	if off < 0 {
		return nil, fmt.Errorf("get %s: offset %d: %w", key, off, fs.ErrInvalid)
	}
	o := &object{store: s, ctx: ctx, key: key}
	r, err := o.begin(off, n)
	if err != nil {
		return nil, s.wrap("get", key, err)
	}
	return r, nil
}

// object is what is read. It keeps ctx for its calls.
type object struct {
	store *Store
	ctx   context.Context
	key   string
	end   int64 // of what is to be read
	of    entry // as it was when reading began
}

func (o *object) begin(off, n int64) (r *targets.Reading, err error) {
	o.of, err = o.store.stat(o.ctx, o.key)
	if errors.Is(err, fs.ErrNotExist) {
		if failure := o.store.absent(o.ctx); failure != nil {
			return nil, failure
		}
	}
	if err != nil {
		return nil, err
	}
	o.end = targets.End(o.of.size, off, n)
	r = &targets.Reading{
		Ctx: o.ctx, Off: off, End: o.end, Attempts: attempts, Again: o.again,
		Wrap: func(err error) error { return o.store.wrap("read", o.key, err) },
	}
	if off < o.end {
		r.Body, err = o.start(off)
	}
	return r, err
}

// start asks for what is left.
func (o *object) start(off int64) (body io.ReadCloser, err error) {
	err = o.store.retry(o.ctx, func() error {
		body, err = o.ask(off)
		return err
	})
	return body, err
}

func (o *object) ask(off int64) (io.ReadCloser, error) {
	ctx, stop := context.WithCancelCause(o.ctx)
	header := map[string]string{}
	if off > 0 || o.end < o.of.size {
		header["Range"] = fmt.Sprintf("bytes=%d-%d", off, o.end-1)
	}
	resp, err := o.store.do(ctx, http.MethodGet, o.store.at.url(o.key), header, nil)
	if err == nil {
		if err = o.suits(off, resp); err != nil {
			_ = resp.Body.Close() // it is of no use
		}
	}
	if err != nil {
		stop(nil)
		return nil, err
	}
	return answer{resp.Body, stop, o.store.times.silence}, nil
}

// suits tells whether an answer begins where it should: a server that knows no ranges answers with all.
func (o *object) suits(off int64, resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusPartialContent:
		if want, got := fmt.Sprintf("bytes %d-%d/", off, o.end-1), resp.Header.Get("Content-Range"); !strings.HasPrefix(got, want) {
			return fmt.Errorf("the server answers with %.100q, and was asked for %s", got, strings.TrimSuffix(want, "/"))
		}
		return nil
	case http.StatusOK:
		if off > 0 {
			return errors.New("the server does not know how to send a part of a file (Range), without which backups cannot be read")
		}
		if n := resp.ContentLength; n >= 0 && n != o.of.size {
			return fmt.Errorf("the server sends %d bytes of a file of %d", n, o.of.size)
		}
		return nil
	}
	return &refusal{resp.StatusCode}
}

// again reads on where an answer has ended too early.
func (o *object) again(off int64, _ int, failure error) (io.ReadCloser, error) {
	now, err := o.store.stat(o.ctx, o.key)
	if err != nil {
		return nil, fmt.Errorf("%w, and then: %w", failure, err)
	}
	if now.size != o.of.size || !now.modified.Equal(o.of.modified) {
		return nil, errors.New("it was changed while it was read")
	}
	return o.start(off)
}

// answer is the body of one.
type answer struct {
	body    io.ReadCloser
	stop    context.CancelCauseFunc
	silence time.Duration
}

// Read gives up a server from which nothing comes.
func (a answer) Read(p []byte) (int, error) {
	timer := time.AfterFunc(a.silence, func() { a.stop(errors.New("nothing comes from the server")) })
	defer timer.Stop()
	return a.body.Read(p)
}

func (a answer) Close() error {
	a.stop(nil)
	_ = a.body.Close() // what was read was all that there is, or an error
	return nil
}
