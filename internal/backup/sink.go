package backup

import (
	"context"
	"errors"
	"fmt"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/spool"
)

// sink is a target that takes part in a run of a volume.
type sink struct {
	target  Target
	reading *reading
	there   []catalog.Snapshot // of the volume, when the run began, oldest first
	err     error              // why the archive does not lie there; read once it has arrived
	outcome Outcome

	giveUp context.CancelCauseFunc // ends its upload
}

// errInTheWay is what an upload ends with that others cannot wait for.
var errInTheWay = errors.New("it was given up, as it took nothing while containers were held until it would, and other targets do")

// drop gives a target up.
func (one *reading) drop(target string) {
	for _, s := range one.sinks {
		if s.target.Name == target {
			s.giveUp(errInTheWay)
		}
	}
}

// expect makes the way in which it becomes known that uploads have ended. No upload waits for that.
func expect(readings []*reading) <-chan *sink {
	n := 0
	for _, one := range readings {
		n += len(one.sinks)
	}
	arrivals := make(chan *sink, n)
	for _, one := range readings {
		one.arrived = arrivals
	}
	return arrivals
}

// draft is the archive in the making on a target that keeps it as fast as a spool would.
type draft interface {
	spool.Draft
	Commit(ctx context.Context) error
}

// send has the sinks take what is going to be written. The first one that can keep it in a draft does; the others read behind that, or
// from the spool's ring.
func (one *reading) send(ctx context.Context, ref snapshot.Ref, kind snapshot.Kind) {
	drafted := false
	for _, s := range one.sinks {
		if !drafted {
			d, err := s.target.Catalog.DraftArchive(ctx, ref, kind)
			if err == nil {
				drafted = true
				one.stream.Through(d)
				one.upload(s, func() error { return one.keep(ctx, d) })
				continue
			}
			if !errors.Is(err, errors.ErrUnsupported) {
				one.upload(s, func() error { return err })
				continue
			}
		}
		one.stream.Dropped = one.drop
		one.follow(ctx, s, ref, kind)
	}
}

// follow has a sink take what is written as fast as it can.
func (one *reading) follow(ctx context.Context, s *sink, ref snapshot.Ref, kind snapshot.Kind) {
	from := one.stream.Reader(s.target.Name)
	ctx, s.giveUp = context.WithCancelCause(ctx)
	one.upload(s, func() error {
		defer s.giveUp(nil)
		defer from.Close() // so that a target that failed is not waited for
		err := s.target.Catalog.PutArchive(ctx, ref, kind, from)
		if err != nil && context.Cause(ctx) == errInTheWay {
			return errInTheWay // whatever that made fail
		}
		return err
	})
}

// upload does what makes the archive lie on a target.
func (one *reading) upload(s *sink, do func() error) {
	one.sent++
	one.uploads.Go(func() {
		s.err = do()
		one.arrived <- s
	})
}

// keep makes an archive of the draft, once it is whole; it waits for no other target.
func (one *reading) keep(ctx context.Context, d draft) error {
	err := one.stream.Drafted()
	if err == nil {
		err = d.Commit(ctx)
	}
	if err != nil {
		return fmt.Errorf("store archive: %w", err)
	}
	return nil
}
