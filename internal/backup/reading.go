package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/backupd/backupd/internal/access"
	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/bases"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/plan"
	"github.com/backupd/backupd/internal/quiesce"
	"github.com/backupd/backupd/internal/seal"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/spool"
)

// reading is one volume on its way to its targets.
type reading struct {
	volume  plan.Volume
	folder  access.Folder
	history []snapshot.Manifest // the newest good ones on any target, newest first
	sinks   []*sink
	stream  *spool.Spool // the way from the archive's writer to the sinks
	sealed  *seal.Writer // goes before it where archives are encrypted; else nil
	uploads sync.WaitGroup
	arrived chan<- *sink            // gets each sink once its upload has ended
	sent    int                     // uploads that were begun
	abandon context.CancelCauseFunc // ends the uploads
	report  quiesce.Report
	still   bool // it is proven that nothing moved
	result  *Result
	runs    map[string]*snapshot.Run // how containers were started, by id

	timed     bool              // files are read in the order that lets a later archive lean on this one
	base      *bases.Base       // that the archive may lean on; nil for none
	on        snapshot.Manifest // a good snapshot that is read from just that
	unchanged bool              // and this one is, too
	index     *index            // to be kept; nil when it is not

	clones string        // folder where the volume's files can be cloned, or ""
	ahead  int64         // see archive.Options
	taking access.Taking // nil until it has been taken
	ref    snapshot.Ref
	taken  time.Time
}

// prepare does what can be done before any container is touched: it asks which targets answer, and opens the volume.
func (r *Runner) prepare(ctx context.Context, v plan.Volume, result *Result, jobSize int) (*reading, error) {
	if v.Refused {
		return nil, refusal(v)
	}
	one := &reading{volume: v, result: result, abandon: func(error) {}}
	for _, name := range v.Targets.Value {
		target, known := r.Targets[name]
		if !known {
			return nil, fmt.Errorf("volume %q is to go to target %q, which is not among the targets of this host", v.Name, name)
		}
		listing, err := ask(ctx, target, v.Name)
		if err != nil {
			result.Targets = append(result.Targets, Outcome{Target: name, Err: err})
			continue
		}
		one.history = recent(one.history, goods(listing))
		one.sinks = append(one.sinks, &sink{target: target, reading: one, there: listing.Snapshots})
	}
	if len(one.sinks) == 0 {
		return nil, errors.New("no target can take the snapshot")
	}
	one.runs = r.runs(ctx, v)
	if err := r.open(ctx, one, r.Spool.Limit/int64(jobSize)); err != nil {
		return nil, err
	}
	r.lean(ctx, one)
	return one, nil
}

// open opens the volume, and the way from it to the sinks.
func (r *Runner) open(ctx context.Context, one *reading, limit int64) (err error) {
	if one.folder, err = r.Access.Reader(ctx, one.volume.Volume); err != nil {
		return err
	}
	if dir := one.folder.Path(); dir != "" {
		if one.clones, err = Clones(one.volume, dir); err == nil {
			one.ahead = limit / 2
			limit -= one.ahead
		}
	}
	if one.stream, err = spool.New(r.Spool.Dir, limit); err != nil {
		return errors.Join(err, one.folder.Close())
	}
	return nil
}

func refusal(v plan.Volume) error {
	var problems []string
	for _, p := range v.Problems {
		problems = append(problems, p.String())
	}
	return fmt.Errorf("volume %q is not backed up until this is mended: %s", v.Name, strings.Join(problems, "; "))
}

// ask finds out whether a target can take part, and gives what it has of the volume.
func ask(ctx context.Context, t Target, volume string) (catalog.Listing, error) {
	if t.Check != nil {
		if err := t.Check(ctx); err != nil {
			return catalog.Listing{}, err
		}
	}
	return t.Catalog.Volume(ctx, volume)
}

// take takes what a volume holds right now, and needs its folder no more. Taking ends with ctx; the uploads, which it leaves running, with
// uploading.
func (r *Runner) take(ctx, uploading context.Context, one *reading, taken time.Time) error {
	id, err := snapshot.NewID(taken, r.Entropy)
	if err != nil {
		return err
	}
	ref := snapshot.Ref{Host: r.Identity.Host, Volume: one.volume.Name, ID: id}
	uploading, one.abandon = context.WithCancelCause(uploading)
	one.send(uploading, ref, r.kind())
	waiting := context.AfterFunc(ctx, func() { one.stream.End(context.Cause(ctx)) }) // for a target, perhaps
	defer waiting()
	one.ref, one.taken = ref, taken
	to, err := r.seal(one)
	if err == nil {
		one.taking, err = one.folder.Take(ctx, r.tapped(one, to), r.archiveOptions(one))
	}
	return one.settle(ctx, err)
}

// complete archives what was taken of a volume.
func (r *Runner) complete(ctx context.Context, one *reading) error {
	summary, err := one.taking.Finish(ctx)
	if err == nil && one.sealed != nil && !one.allThere(summary) {
		err = one.sealed.Close()
	}
	if err != nil {
		return one.settle(ctx, err)
	}
	one.ended(summary)
	if len(summary.Mounts) > 0 {
		r.Log.Warn("what is mounted inside the volume is not in its backup", "volume", one.volume.Name, "paths", summary.Mounts)
	}
	one.still = summary.Still
	one.result.Manifest, err = r.manifest(one, summary)
	return err
}

// settle ends what an error has made useless, and gives the reason to tell.
func (one *reading) settle(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	one.stream.End(err)
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx) // whatever it made fail
	case errors.Is(err, spool.ErrNoReader):
		return nil // every target failed, and each says why
	}
	one.abandon(err)
	return err
}

func (r *Runner) archiveOptions(one *reading) archive.Options {
	o := r.Archive
	o.Exclude, o.Clones, o.Ahead = one.volume.Exclude.Value, one.clones, one.ahead
	if one.volume.Quiesce.Value == quiesce.None {
		o.Clock, o.Prove = r.Now, true // what is not held may be proven not to have moved
	}
	if one.timed {
		o.Clock = r.Now
	}
	if one.base != nil {
		o.Base = one.base.Base
	}
	if r.Progress != nil {
		var expected int64
		if len(one.history) > 0 {
			expected = one.history[0].Contents.Bytes
		}
		o.Progress = func(read int64) { r.Progress(one.volume.Name, read, expected) }
	}
	return o
}

// shut closes the volume, which nothing is needed of any more.
func (r *Runner) shut(one *reading) {
	if one.folder == nil {
		return
	}
	if err := one.folder.Close(); err != nil {
		r.Log.Warn("a volume was not closed well", "volume", one.volume.Name, "err", err)
	}
	one.folder = nil
}

// empty gives back the room of the stream, which is needed by nobody any more. Once is enough.
func (r *Runner) empty(one *reading) {
	if err := one.stream.Close(); err != nil {
		r.Log.Warn("a spool was not closed well", "volume", one.volume.Name, "err", err)
	}
}

// close gives back what the reading holds. It waits for uploads that a panic has left behind.
func (r *Runner) close(one *reading) {
	givenUp := errors.New("the run was given up")
	one.stream.End(givenUp)
	one.abandon(givenUp)
	one.uploads.Wait()
	if one.taking != nil {
		one.taking.Close()
	}
	if one.base != nil {
		r.closeBase(one, *one.base)
		one.base = nil
	}
	if one.index != nil {
		one.index.draft.Drop()
	}
	r.empty(one)
	r.shut(one)
}
