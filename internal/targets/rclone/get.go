package rclone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"

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
		return nil, fmt.Errorf("get %s: %w", s.at.of(key), err)
	}
	return r, nil
}

// attempts is how often in a row reading may break off without a byte.
const attempts = 3

// object is what is read. It keeps ctx, as the processes that it is read from do.
type object struct {
	store *Store
	ctx   context.Context
	key   string
	end   int64 // of what is to be read
	of    entry // as it was when reading began
}

// begin learns where the object ends: rclone itself would give all files of a folder for one, and a short one without an error.
func (o *object) begin(off, n int64) (r *targets.Reading, err error) {
	if o.of, err = o.store.stat(o.ctx, o.key); err != nil {
		return nil, err
	}
	if o.of.Size < 0 {
		return nil, errors.New("rclone does not know how large it is")
	}
	o.end = targets.End(o.of.Size, off, n)
	r = &targets.Reading{
		Ctx: o.ctx, Off: off, End: o.end, Attempts: attempts, Again: o.again,
		Wrap: func(err error) error { return fmt.Errorf("read %s: %w", o.store.at.of(o.key), err) },
	}
	if off < o.end {
		r.Body, err = o.start(off)
	}
	return r, err
}

func (o *object) start(off int64) (io.ReadCloser, error) {
	ctx, stop := context.WithCancel(o.ctx)
	p := o.store.command(ctx, "cat", "--offset="+strconv.FormatInt(off, 10), "--count="+strconv.FormatInt(o.end-off, 10), o.store.at.of(o.key))
	out, err := p.StdoutPipe()
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		stop()
		return nil, err
	}
	return &output{process: p, out: out, stop: stop}, nil
}

// again reads on where rclone has ended too early.
func (o *object) again(off int64, _ int, failure error) (io.ReadCloser, error) {
	now, err := o.store.stat(o.ctx, o.key)
	if err != nil {
		return nil, fmt.Errorf("%w, and then: %w", failure, err)
	}
	if now.Size != o.of.Size || !now.ModTime.Equal(o.of.ModTime) {
		return nil, errors.New("it was changed while it was read")
	}
	return o.start(off)
}

// output is what rclone prints.
type output struct {
	process *process // nil when it has ended
	out     io.Reader
	stop    context.CancelFunc
}

// Read tells by its error why there is no more.
func (o *output) Read(p []byte) (int, error) {
	n, err := o.out.Read(p)
	if n > 0 || err == nil {
		return n, nil
	}
	failure := o.process.wait()
	o.stop()
	o.process = nil
	return 0, cmp.Or(failure, errors.New("rclone has ended"))
}

// Close does not ask how rclone ended: what was read was all that there is, or an error.
func (o *output) Close() error {
	if o.process != nil {
		o.stop()
		_ = o.process.wait()
		o.process = nil
	}
	return nil
}
