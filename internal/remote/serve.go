package remote

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/folder"
)

// Serve does to a folder what is asked for on in, until that ends; then nothing that was begun is left lying there. It is an error when in
// ends in the middle of something, or nobody takes the answers. The clock is that of the machine that has the folder.
func Serve(ctx context.Context, in io.Reader, out io.Writer, f folder.Folder, clock func() time.Time) (err error) {
	s := &server{wire: newWire(in, out), folder: f, clock: clock}
	defer func() { err = errors.Join(err, s.tidy(context.WithoutCancel(ctx))) }()
	for {
		k, size, err := s.wire.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var r request
		if err == nil {
			err = s.wire.hear(k, size, &r)
		}
		if err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		if err := s.serve(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", r.Do, err)
		}
	}
}

type server struct {
	wire   *wire
	folder folder.Folder
	clock  func() time.Time
	stage  *folder.Stage  // nil when there is none
	taking *folder.Taking // likewise
}

// serve serves one request. What comes of it goes out as the answer; what is returned ends the service.
func (s *server) serve(ctx context.Context, r request) error {
	from := &incoming{wire: s.wire, err: io.EOF}
	if r.Do == doFill || r.Do == doStage {
		from.err = nil
	}
	a, err := s.do(ctx, r, from)
	a.Done, a.Failure = true, newFailure(err)
	if s.stage != nil {
		a.Where = s.stage.Where()
	}
	if err := s.wire.tell(a); err != nil {
		return err
	}
	return from.drain() // of what failed, the rest is on its way
}

func (s *server) do(ctx context.Context, r request, from *incoming) (a answer, err error) {
	r.Extract.Progress = s.progress()
	switch r.Do {
	case doTake:
		err = s.take(ctx, r)
	case doFinish:
		a.Summary, err = s.finish(ctx)
	case doEmpty:
		a.Empty, err = s.folder.Empty(ctx)
	case doList:
		err = s.list(ctx)
	case doFill:
		a.Report, err = s.folder.Fill(ctx, arriving{from, r})
	case doStage:
		if s.stage != nil {
			return a, errors.New("there is a stage already")
		}
		s.stage, a.Report, err = s.folder.Stage(ctx, arriving{from, r})
	case doReplaced:
		if s.stage != nil {
			return a, errors.New("there is a stage already")
		}
		s.stage, err = s.folder.Replaced(ctx, r.Again)
	case doDrop:
		a.Dropped, err = s.folder.Drop(ctx, r.Before)
	case doSettle:
		a.Settled, err = s.folder.Settle(ctx)
	case doClose:
		err = s.unstage(ctx)
	case doExchange, doDiscard:
		err = s.withStage(ctx, r.Do)
	default:
		err = errors.New("there is no such request")
	}
	return a, err
}

func (s *server) withStage(ctx context.Context, do verb) error {
	switch {
	case s.stage == nil:
		return errors.New("there is no stage")
	case do == doDiscard:
		return s.stage.Discard(ctx)
	}
	return s.stage.Exchange(ctx)
}

// take gives up as soon as the stream of requests ends, since nobody is there any more then.
func (s *server) take(ctx context.Context, r request) (err error) {
	if s.taking != nil {
		return errors.New("another archive is in the making")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.watch(cancel)
	// Folders of the other machine. Beside this one there is none in which files could be cloned.
	r.Take.Scratch, r.Take.Clones = "", ""
	r.Take.Progress = s.progress()
	if r.Timed {
		r.Take.Clock = s.clock
	}
	s.taking, err = s.folder.Take(ctx, pieces{s.wire}, r.Take)
	return err
}

func (s *server) finish(ctx context.Context) (folder.Summary, error) {
	if s.taking == nil {
		return folder.Summary{}, errors.New("nothing was taken")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.watch(cancel)
	t := s.taking
	s.taking = nil
	return t.Finish(ctx)
}

// watch calls when the stream of requests ends, at the latest; it reads nothing. The next request is what ends it otherwise: only then may
// the stream be read again, and so the reader is one that waits.
func (s *server) watch(gone context.CancelCauseFunc) {
	ahead := s.wire.in
	peeked := make(chan struct{})
	go func() {
		defer close(peeked)
		if _, err := ahead.Peek(1); err != nil {
			gone(fmt.Errorf("whoever asked for it is gone: %w", err))
		}
	}()
	s.wire.in = bufio.NewReaderSize(after{peeked, ahead}, pieceful+headSize)
}

// after is a reader that can be read from once something has happened.
type after struct {
	happened <-chan struct{}
	reader   io.Reader
}

func (a after) Read(p []byte) (int, error) {
	<-a.happened
	return a.reader.Read(p)
}

// tidy leaves nothing behind.
func (s *server) tidy(ctx context.Context) error {
	if s.taking != nil {
		s.taking.Close()
	}
	return s.unstage(ctx)
}

func (s *server) unstage(ctx context.Context) error {
	if s.stage == nil {
		return nil
	}
	err := s.stage.Close(ctx)
	s.stage = nil
	return err
}

// progress tells of progress, and not of every little: a message costs more than a small file.
func (s *server) progress() func(bytes int64) {
	const least = 1 << 20
	var told int64
	return func(bytes int64) {
		if bytes-told >= least {
			told = bytes
			_ = s.wire.tell(answer{Progress: bytes}) // the outcome cannot be told either then, and that is an error
		}
	}
}

// arriving is an archive on its way.
type arriving struct {
	from *incoming
	r    request
}

func (a arriving) Size() int64 { return a.r.Size }

func (a arriving) Part() bool { return a.r.Part }

func (a arriving) Extract(ctx context.Context, dir string) (archive.Report, error) {
	return a.Send(ctx, func(from io.Reader, o archive.ExtractOptions) (archive.Report, error) {
		return archive.Extract(ctx, from, dir, o)
	})
}

func (a arriving) Send(_ context.Context, to func(io.Reader, archive.ExtractOptions) (archive.Report, error)) (archive.Report, error) {
	report, err := to(a.from, a.r.Extract)
	if err == nil {
		// Whoever sends it may find at its very end that it is not what it should be.
		_, err = io.Copy(io.Discard, a.from)
	}
	return report, err
}
