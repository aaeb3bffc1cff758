package rclone

import (
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
	r := &download{store: s, ctx: ctx, key: key, off: off}
	if err := r.begin(n); err != nil {
		return nil, fmt.Errorf("get %s: %w", s.at.of(key), err)
	}
	return r, nil
}

// attempts is how often in a row reading may break off without a byte.
const attempts = 3

// download reads an object from off to end. It keeps ctx, as the process that it reads from does.
type download struct {
	store    *Store
	ctx      context.Context
	key      string
	off, end int64
	of       entry // as it was when reading began
	failures int   // since the last byte

	process *process // nil when there is nothing to read
	out     io.Reader
	stop    context.CancelFunc
}

// begin learns where the object ends: rclone itself would give all files of a folder for one, and a short one without an error.
func (d *download) begin(n int64) (err error) {
	if d.of, err = d.store.stat(d.ctx, d.key); err != nil {
		return err
	}
	if d.of.Size < 0 {
		return errors.New("rclone does not know how large it is")
	}
	if d.end = targets.End(d.of.Size, d.off, n); d.off == d.end {
		return nil
	}
	return d.start()
}

func (d *download) start() error {
	ctx, stop := context.WithCancel(d.ctx)
	p := d.store.command(ctx, "cat", "--offset="+strconv.FormatInt(d.off, 10), "--count="+strconv.FormatInt(d.end-d.off, 10), d.store.at.of(d.key))
	out, err := p.StdoutPipe()
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		stop()
		return err
	}
	d.process, d.out, d.stop = p, out, stop
	return nil
}

func (d *download) Read(p []byte) (int, error) {
	for {
		if d.off == d.end {
			return 0, io.EOF
		}
		n, err := d.out.Read(p[:min(int64(len(p)), d.end-d.off)])
		d.off += int64(n)
		if n > 0 || err == nil {
			d.failures = 0
			return n, nil // an error comes again, or does no harm
		}
		if err := d.resume(); err != nil {
			return 0, fmt.Errorf("read %s: %w", d.store.at.of(d.key), err)
		}
	}
}

// resume reads on where rclone has ended too early.
func (d *download) resume() error {
	failure := d.process.wait()
	d.stop()
	d.process = nil
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	if failure == nil {
		failure = fmt.Errorf("rclone ended %d bytes before the end", d.end-d.off)
	}
	if d.failures++; d.failures == attempts {
		return fmt.Errorf("%w (%w), %d times in a row", io.ErrUnexpectedEOF, failure, attempts)
	}
	now, err := d.store.stat(d.ctx, d.key)
	if err != nil {
		return fmt.Errorf("%w, and then: %w", failure, err)
	}
	if now.Size != d.of.Size || !now.ModTime.Equal(d.of.ModTime) {
		return errors.New("it was changed while it was read")
	}
	return d.start()
}

// Close does not ask how rclone ended: what was read was all that there is, or an error.
func (d *download) Close() error {
	if d.process != nil {
		d.stop()
		_ = d.process.wait()
		d.process = nil
	}
	return nil
}
