package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/folder"
)

// Stream leads to a process that serves a folder. Reading from it fails once the process has ended, and says how.
type Stream interface {
	io.ReadWriter
	CloseWrite() error
	Close() error // ends reads and writes in progress
}

// Folder is the folder that is served at the other end of a stream. It does one thing at a time.
type Folder struct {
	stream Stream
	wire   *wire
	broken error // nothing can be understood any more
}

// Dial makes a folder of a stream.
func Dial(s Stream) *Folder { return &Folder{stream: s, wire: newWire(s, s)} }

// leave is how long the other end may take to put things in order.
const leave = 20 * time.Second

// Close tells the other end to go away, and waits until it has, for a while.
func (f *Folder) Close() error {
	late := time.AfterFunc(leave, func() { _ = f.stream.Close() }) // it is closed below once more
	defer late.Stop()
	if err := f.stream.CloseWrite(); err == nil {
		_, _ = io.Copy(io.Discard, f.wire.in) // to the end, which may be any error
	}
	return f.stream.Close()
}

// Take takes the folder's archive, and needs the folder no more then. What it has written of it to w is only part of it.
func (f *Folder) Take(ctx context.Context, w io.Writer, o archive.Options) (*Taking, error) {
	defer f.cutAt(ctx, 0)()
	t := &Taking{f, &counted{w: w}, o.Progress}
	o.Base = nil
	if _, err := f.ask(ctx, request{Do: doTake, Take: o, Timed: o.Clock != nil}, t.progress, t.out); err != nil {
		return nil, err
	}
	return t, nil
}

// Taking is an archive in the making.
type Taking struct {
	folder   *Folder
	out      *counted
	progress func(read int64)
}

// Finish completes the archive.
func (t *Taking) Finish(ctx context.Context) (folder.Summary, error) {
	defer t.folder.cutAt(ctx, 0)()
	a, err := t.folder.ask(ctx, request{Do: doFinish}, t.progress, t.out)
	if err == nil && a.Summary.Stored != t.out.bytes {
		err = fmt.Errorf("%d bytes came of an archive of %d", t.out.bytes, a.Summary.Stored)
	}
	return a.Summary, err
}

// Close does nothing: what is not finished goes when the folder is closed.
func (t *Taking) Close() {}

// Empty tells whether nothing is in it.
func (f *Folder) Empty(ctx context.Context) (bool, error) {
	defer f.cutAt(ctx, 0)()
	a, err := f.ask(ctx, request{Do: doEmpty}, nil, nil)
	return a.Empty, err
}

// Fill extracts into the folder, which is empty, and makes it what it was when that fails.
func (f *Folder) Fill(ctx context.Context, from folder.Source) (archive.Report, error) {
	a, err := f.give(ctx, doFill, from)
	return a.Report, err
}

// Stage extracts to where it can be exchanged with what is in the folder.
func (f *Folder) Stage(ctx context.Context, from folder.Source) (*Stage, archive.Report, error) {
	a, err := f.give(ctx, doStage, from)
	if err != nil {
		return nil, archive.Report{}, err
	}
	return &Stage{f, a.Where}, a.Report, nil
}

// Stage is what a folder's content can be exchanged with.
type Stage struct {
	folder *Folder
	where  string
}

// Where tells the stage's folder, as the other end names it.
func (s *Stage) Where() string { return s.where }

// Exchange puts what is in the stage into the place of what is in the folder. Once begun it goes on to its end.
func (s *Stage) Exchange(ctx context.Context) error {
	a, err := s.folder.ask(ctx, request{Do: doExchange}, nil, nil)
	s.where = cmp.Or(a.Where, s.where)
	return err
}

// Discard removes all that lies in the stage.
func (s *Stage) Discard(ctx context.Context) error {
	_, err := s.folder.ask(ctx, request{Do: doDiscard}, nil, nil)
	return err
}

// Close ends the use of the stage. What came in and did not get into the folder goes.
func (s *Stage) Close(ctx context.Context) error {
	_, err := s.folder.ask(ctx, request{Do: doClose}, nil, nil)
	return err
}

// Replaced gives the stage with what was replaced, as folder.Folder does.
func (f *Folder) Replaced(ctx context.Context, again bool) (*Stage, error) {
	a, err := f.ask(ctx, request{Do: doReplaced, Again: again}, nil, nil)
	if err != nil {
		return nil, err
	}
	return &Stage{f, a.Where}, nil
}

// Drop removes what was replaced before some moment.
func (f *Folder) Drop(ctx context.Context, before time.Time) (dropped int, err error) {
	a, err := f.ask(ctx, request{Do: doDrop, Before: before}, nil, nil)
	return a.Dropped, err
}

// Settle brings an exchange to its end whose maker is gone.
func (f *Folder) Settle(ctx context.Context) (settled bool, err error) {
	a, err := f.ask(ctx, request{Do: doSettle}, nil, nil)
	return a.Settled, err
}

// give sends an archive along. When it does not come whole, the other end puts things in order, and is given the time for that.
func (f *Folder) give(ctx context.Context, do verb, from folder.Source) (a answer, err error) {
	defer f.cutAt(ctx, leave)()
	a.Report, err = from.Send(ctx, func(r io.Reader, o archive.ExtractOptions) (archive.Report, error) {
		if f.broken != nil {
			return archive.Report{}, f.broken
		}
		if err := f.wire.tell(request{Do: do, Extract: o, Size: from.Size(), Part: from.Part()}); err != nil {
			return archive.Report{}, f.lost(err)
		}
		var err error
		a, err = f.exchange(ctx, r, o.Progress)
		return a.Report, err
	})
	return a, err
}

var errAnswered = errors.New("the other end has made up its mind")

// exchange sends an archive, and takes in what the other end has to say of it meanwhile.
func (f *Folder) exchange(ctx context.Context, r io.Reader, progress func(int64)) (answer, error) {
	sending, stop := context.WithCancelCause(ctx)
	sent := make(chan error, 1)
	go func() { sent <- f.send(sending, r) }()
	a, heard := f.listen(progress, nil)
	stop(errAnswered)
	switch err := <-sent; {
	case ctx.Err() != nil:
		return answer{}, context.Cause(ctx)
	case err != nil && !errors.Is(err, errAnswered): // it is the reason for what was heard
		return answer{}, err
	}
	return a, heard
}

// send sends an archive to its end, or until ctx ends, and gives what reading came to. What sending comes to is heard from the other end.
func (f *Folder) send(ctx context.Context, r io.Reader) error {
	buf := make([]byte, pieceful)
	for {
		n, err := r.Read(buf)
		if n > 0 && f.wire.send(aPiece, buf[:n]) != nil {
			return nil
		}
		if errors.Is(err, io.EOF) {
			_ = f.wire.send(theEnd, nil)
			return nil
		}
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			_ = f.wire.send(givenUp, nil)
			return err
		}
	}
}

// ask makes a request and listens for what comes of it.
func (f *Folder) ask(ctx context.Context, r request, progress func(int64), data io.Writer) (answer, error) {
	if f.broken != nil {
		return answer{}, f.broken
	}
	if ctx.Err() != nil && r.Do != doClose {
		return answer{}, context.Cause(ctx)
	}
	if err := f.wire.tell(r); err != nil {
		return answer{}, f.lost(err)
	}
	a, err := f.listen(progress, data)
	if ctx.Err() != nil && f.broken != nil {
		err = context.Cause(ctx)
	}
	return a, err
}

// listen takes in what the other end has to say, until it is done.
func (f *Folder) listen(progress func(int64), data io.Writer) (answer, error) {
	for {
		k, size, err := f.wire.next()
		if err != nil {
			return answer{}, f.lost(err)
		}
		if k == aPiece && data != nil {
			if n, err := io.CopyN(data, f.wire.in, int64(size)); err != nil {
				return answer{}, f.lost(fmt.Errorf("after %d of %d bytes of a piece: %w", n, size, cut(err)))
			}
			continue
		}
		var a answer
		if err := f.wire.hear(k, size, &a); err != nil {
			return answer{}, f.lost(err)
		}
		if a.Done && a.Failure != nil {
			return a, a.Failure
		}
		if a.Done {
			return a, nil
		}
		if progress != nil {
			progress(a.Progress)
		}
	}
}

// lost notes that the other end cannot be understood any more.
func (f *Folder) lost(err error) error {
	f.broken = fmt.Errorf("work on the volume through its helper: %w", cut(err))
	return f.broken
}

// cutAt cuts the stream some time after ctx has ended, unless what it gives is called before.
func (f *Folder) cutAt(ctx context.Context, after time.Duration) (stop func()) {
	done := make(chan struct{})
	unregister := context.AfterFunc(ctx, func() {
		select {
		case <-done:
		case <-time.After(after):
			_ = f.stream.Close() // the one whose read or write fails by that tells of it
		}
	})
	return func() {
		close(done)
		unregister()
	}
}

// counted counts the bytes that are written.
type counted struct {
	w     io.Writer
	bytes int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.bytes += int64(n)
	return n, err
}
