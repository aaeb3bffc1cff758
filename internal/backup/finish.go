package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/backupd/backupd/internal/folder"
	"github.com/backupd/backupd/internal/snapshot"
)

// finish ends the runs of all volumes, on each target as soon as an archive has arrived there: none waits for a slower one.
func (r *Runner) finish(ctx context.Context, readings []*reading, arrivals <-chan *sink) {
	waiting := 0
	for _, one := range readings {
		one.stream.End(errors.New("the volume was not read")) // no effect on one that was
		one.describe()
		waiting += one.sent
	}
	for range waiting {
		s := <-arrivals
		s.outcome = r.conclude(ctx, s)
	}
	for _, one := range readings {
		r.empty(one)
		r.keepIndex(one)
		one.tell()
	}
}

// unread tells that there is nothing to store, and that the uploads failed for no other reason.
func (one *reading) unread() bool { return one.result.Manifest.ID == "" && one.result.Err != nil }

// describe completes the manifest by what is known once containers were let go.
func (one *reading) describe() {
	m := &one.result.Manifest
	if m.ID == "" {
		return
	}
	m.Grade, m.Held = one.report.Grade, append([]snapshot.Held{}, one.report.Held...) // never null in JSON
	m.Hooks = one.report.Hooks
	if m.Grade == snapshot.Fuzzy && one.still {
		m.Grade = snapshot.Still
	}
}

// conclude commits the snapshot whose archive has arrived on a target, and applies retention there.
func (r *Runner) conclude(ctx context.Context, s *sink) Outcome {
	o := Outcome{Target: s.target.Name, Err: s.missing()}
	if s.reading.unread() {
		return o
	}
	m, volume := s.reading.result.Manifest, s.reading.volume
	if o.Err == nil {
		o.Err = commit(ctx, s.target, m)
	}
	if o.Err == nil {
		r.Log.Info("snapshot stored", "volume", m.Volume, "snapshot", m.ID, "target", o.Target, "bytes", m.StoredBytes(), "grade", m.Grade)
		o.Pruned, o.Prune = r.Pruner.Prune(ctx, s.target, volume.Name, volume.Retention.Value)
	}
	if kept := o.Pruned.Kept; len(kept) > 0 {
		r.Log.Info("the target keeps what retention would remove", "volume", m.Volume, "target", o.Target, "count", len(kept), "first", kept[0])
	}
	return o
}

// tell makes a result of what came of the targets.
func (one *reading) tell() {
	if one.unread() {
		return
	}
	for _, s := range one.sinks {
		one.result.Targets = append(one.result.Targets, s.outcome)
	}
	if one.result.Manifest.ID != "" && !one.result.Manifest.Good() {
		one.result.Err = errors.Join(one.result.Err, notGood(one))
	}
}

// commit makes a snapshot exist whose archive lies whole on the target, also when ctx has ended since: else the archive would lie there
// for nothing.
func commit(ctx context.Context, t Target, m snapshot.Manifest) error {
	const patience = 10 * time.Second // for a target that has just taken an archive
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
	}
	return t.Catalog.Commit(ctx, m)
}

// notGood says what is wrong with a snapshot that is kept, and does not count.
func notGood(one *reading) error {
	if suspect := one.result.Manifest.Suspect; suspect != "" {
		return fmt.Errorf("volume %q is suspect: %s", one.volume.Name, suspect)
	}
	return fmt.Errorf("volume %q did not hold still while it was read (%s): the snapshot is marked fuzzy and does not count",
		one.volume.Name, strings.Join(one.report.Reasons, "; "))
}

func (r *Runner) manifest(one *reading, sum folder.Summary) (snapshot.Manifest, error) {
	ref := one.ref
	facts, err := r.restoreFacts(one)
	if err != nil {
		return snapshot.Manifest{}, err
	}
	archives, err := one.archives(sum)
	if err != nil {
		return snapshot.Manifest{}, err
	}
	contents := r.contents(sum)
	if one.unchanged {
		contents = one.on.Contents // what was not read was not looked into
	}
	m := snapshot.Manifest{
		Format:   snapshot.Format,
		ID:       ref.ID,
		Host:     ref.Host,
		Owner:    r.Identity.Owner,
		Volume:   ref.Volume,
		Taken:    one.taken.UTC(),
		Program:  r.Identity.Program,
		Quiesce:  one.volume.Quiesce.Value.String(),
		Archives: archives,
		Contents: contents,
		Restore:  facts,
	}
	r.judge(&m, one.history)
	return m, nil
}
