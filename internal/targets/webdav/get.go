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
	d := &download{store: s, ctx: ctx, key: key, off: off}
	if err := d.begin(n); err != nil {
		return nil, s.wrap("get", key, err)
	}
	return d, nil
}

// download reads an object from off to end. It keeps ctx for its calls.
type download struct {
	store    *Store
	ctx      context.Context
	key      string
	off, end int64
	of       entry // as it was when reading began
	failures int   // since the last byte

	body io.ReadCloser // nil when there is nothing to read
	stop context.CancelCauseFunc
}

func (d *download) begin(n int64) (err error) {
	d.of, err = d.store.stat(d.ctx, d.key)
	if errors.Is(err, fs.ErrNotExist) {
		if failure := d.store.absent(d.ctx); failure != nil {
			return failure
		}
	}
	if err != nil {
		return err
	}
	if d.end = targets.End(d.of.size, d.off, n); d.off == d.end {
		return nil
	}
	return d.store.retry(d.ctx, d.start)
}

// start asks for what is left.
func (d *download) start() error {
	ctx, stop := context.WithCancelCause(d.ctx)
	header := map[string]string{}
	if d.off > 0 || d.end < d.of.size {
		header["Range"] = fmt.Sprintf("bytes=%d-%d", d.off, d.end-1)
	}
	resp, err := d.store.do(ctx, http.MethodGet, d.store.at.url(d.key), header, nil)
	if err == nil {
		if err = d.suits(resp); err != nil {
			_ = resp.Body.Close() // it is of no use
		}
	}
	if err != nil {
		stop(nil)
		return err
	}
	d.body, d.stop = resp.Body, stop
	return nil
}

// suits tells whether an answer begins where it should: a server that knows no ranges answers with all.
func (d *download) suits(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusPartialContent:
		if want, got := fmt.Sprintf("bytes %d-%d/", d.off, d.end-1), resp.Header.Get("Content-Range"); !strings.HasPrefix(got, want) {
			return fmt.Errorf("the server answers with %.100q, and was asked for %s", got, strings.TrimSuffix(want, "/"))
		}
		return nil
	case http.StatusOK:
		if d.off > 0 {
			return errors.New("the server does not know how to send a part of a file (Range), without which backups cannot be read")
		}
		if n := resp.ContentLength; n >= 0 && n != d.of.size {
			return fmt.Errorf("the server sends %d bytes of a file of %d", n, d.of.size)
		}
		return nil
	}
	return &refusal{resp.StatusCode}
}

func (d *download) Read(p []byte) (int, error) {
	for {
		if d.off == d.end {
			return 0, io.EOF
		}
		n, err := d.more(p[:min(int64(len(p)), d.end-d.off)])
		d.off += int64(n)
		if n > 0 || err == nil {
			d.failures = 0
			return n, nil // an error comes again, or does no harm
		}
		if err := d.resume(err); err != nil {
			return 0, d.store.wrap("read", d.key, err)
		}
	}
}

// more gives up a server from which nothing comes.
func (d *download) more(p []byte) (int, error) {
	timer := time.AfterFunc(d.store.times.silence, func() { d.stop(errors.New("nothing comes from the server")) })
	defer timer.Stop()
	return d.body.Read(p)
}

// resume reads on where the answer has ended too early.
func (d *download) resume(failure error) error {
	d.release()
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	if d.failures++; d.failures == attempts {
		return fmt.Errorf("%w: it ends %d bytes too early (%w), %d times in a row", io.ErrUnexpectedEOF, d.end-d.off, failure, attempts)
	}
	now, err := d.store.stat(d.ctx, d.key)
	if err != nil {
		return fmt.Errorf("%w, and then: %w", failure, err)
	}
	if now.size != d.of.size || !now.modified.Equal(d.of.modified) {
		return errors.New("it was changed while it was read")
	}
	return d.store.retry(d.ctx, d.start)
}

func (d *download) release() {
	if d.body != nil {
		d.stop(nil)
		_ = d.body.Close() // what was read was all that there is, or an error
		d.body = nil
	}
}

func (d *download) Close() error {
	d.release()
	return nil
}
