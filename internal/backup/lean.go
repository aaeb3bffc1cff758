package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/bases"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/durable"
	"github.com/backupd/backupd/internal/folder"
	"github.com/backupd/backupd/internal/snapshot"
)

// Bases keeps the indexes of the last archives on this host.
type Bases interface {
	// Open gives that of a volume which the next one may lean on, if the targets agree: errors.Is(err, fs.ErrNotExist) holds for none. Whatever
	// is wrong with it means that more is read.
	Open(ctx context.Context, host, volume string) (bases.Base, error)
	// Begin begins to keep the next one's.
	Begin(host, volume string) (*bases.Draft, error)
}

// lean has a run lean on what was archived before, if every target that takes part has all of that and nothing bad is known of it.
func (r *Runner) lean(ctx context.Context, one *reading) {
	if r.Bases == nil || one.folder.Path() == "" { // a helper has no index, and reads everything
		return
	}
	one.timed = true
	base, err := r.Bases.Open(ctx, r.Identity.Host, one.volume.Name)
	if err != nil {
		r.Log.Debug("a run leans on nothing", "volume", one.volume.Name, "err", err)
		return
	}
	why := r.overdue(base)
	on, ok := one.agreed(base.Archives, r.Identity.Owner)
	if why == "" && !ok {
		why = "not every target has all of the last one, or something is wrong with it there"
	}
	if why != "" {
		r.Log.Info("a full archive is made", "volume", one.volume.Name, "last", base.Archives[0].ID, "reason", why)
		r.closeBase(one, base)
		return
	}
	one.base, one.on = &base, on
}

// overdue says why it is time for a full archive, or "".
func (r *Runner) overdue(base bases.Base) string {
	first := slices.MinFunc(base.Archives, func(a, b snapshot.Archive) int { // which is the full one
		return cmp.Or(a.ID.Time().Compare(b.ID.Time()), cmp.Compare(b.Size, a.Size))
	})
	var since int64
	for _, a := range base.Archives {
		if a.ID != first.ID {
			since += a.Size
		}
	}
	switch age := r.Now().Sub(first.ID.Time()); {
	case r.LeanFor <= 0:
		return "each is to be one"
	case base.Recipients != r.Seal.Fingerprint():
		return "others are to be able to read it than can read the last one"
	case age >= r.LeanFor || age < -time.Minute:
		return "the last full one is of " + first.ID.Time().Format(time.RFC3339)
	case since > first.Size/2:
		return "those since the last full one take more than half of its size"
	}
	return ""
}

func (r *Runner) closeBase(one *reading, base bases.Base) {
	if err := base.Close(); err != nil {
		r.Log.Warn("the index of an earlier archive was not closed well", "volume", one.volume.Name, "err", err)
	}
}

// agreed gives a good snapshot that is read from just these archives, if each target of the run has one that may be leaned on.
func (one *reading) agreed(archives []snapshot.Archive, owner string) (on snapshot.Manifest, ok bool) {
	for _, s := range one.sinks {
		fits := func(there catalog.Snapshot) bool {
			return there.Owner == owner && there.MayBeLeantOn() && slices.Equal(there.Archives, archives)
		}
		i := lastIndex(s.there, fits)
		if i < 0 {
			return snapshot.Manifest{}, false
		}
		on = s.there[i].Manifest
	}
	return on, len(one.sinks) > 0
}

func lastIndex[T any](all []T, fits func(T) bool) int {
	for i, v := range slices.Backward(all) {
		if fits(v) {
			return i
		}
	}
	return -1
}

// errUnchanged ends the uploads of an archive that nobody needs: the snapshot is a manifest only.
var errUnchanged = errors.New("nothing has changed, so that there is no archive")

// ended ends the stream of an archive that was written, or takes it back where what the run leans on has all of it.
func (one *reading) ended(sum folder.Summary) {
	if one.index != nil {
		one.index.plain = sum.Stored
	}
	if one.unchanged = one.allThere(sum); one.unchanged {
		one.stream.End(errUnchanged)
		return
	}
	one.stream.End(nil)
}

// allThere tells whether what the run leans on has all that the volume holds.
func (one *reading) allThere(sum folder.Summary) bool { return one.base != nil && sum.Unchanged }

// archives gives all that the snapshot is read from.
func (one *reading) archives(sum folder.Summary) ([]snapshot.Archive, error) {
	if one.unchanged {
		return one.on.Archives, nil
	}
	all := []snapshot.Archive{one.archive(sum.Summary)}
	for _, l := range sum.Leans {
		i := -1
		if one.base != nil {
			i = slices.IndexFunc(one.on.Archives, func(a snapshot.Archive) bool { return string(a.ID) == l.Name && a.Directory == l.Directory })
		}
		if i < 0 {
			return nil, fmt.Errorf("it came to lean on archive %.80q, which nobody vouches for", l.Name)
		}
		all = append(all, one.on.Archives[i])
	}
	return all, nil
}

// missing is why the archive does not lie on the target, or nil when it does, or there is none.
func (s *sink) missing() error {
	if s.reading.unchanged && errors.Is(s.err, errUnchanged) {
		return nil
	}
	return s.err
}

// index is a copy of the index of an archive in the making, for the next one to lean on.
type index struct {
	draft *bases.Draft
	tap   *archive.Tap
	plain int64 // bytes of the archive
}

// tapped has the index of a volume's archive kept, beside what becomes of the archive.
func (r *Runner) tapped(one *reading, to io.Writer) io.Writer {
	if !one.timed {
		return to
	}
	d, err := r.Bases.Begin(r.Identity.Host, one.volume.Name)
	if err != nil {
		r.Log.Warn("the next archive will be a full one", "volume", one.volume.Name, "err", err)
		return to
	}
	one.index = &index{draft: d, tap: archive.NewTap(to, d)}
	return one.index.tap
}

// keepIndex keeps it if any target has the snapshot. Whether all have it the next run asks.
func (r *Runner) keepIndex(one *reading) {
	if one.index == nil {
		return
	}
	defer one.index.draft.Drop()
	stored := slices.ContainsFunc(one.sinks, func(s *sink) bool { return s.outcome.Target != "" && s.outcome.Err == nil })
	if !stored || one.unchanged || one.result.Manifest.ID == "" {
		return
	}
	err := one.index.draft.Keep(bases.Kept{
		Archives: one.result.Manifest.Archives, Plain: one.index.plain, Data: one.index.tap.Data(), Recipients: r.Seal.Fingerprint(),
	})
	if err != nil {
		r.Log.Warn("the next archive will be a full one", "volume", one.volume.Name, "err", err)
	}
}

// settleAll has all that is dirty of the volumes' file systems written to disk while containers run. Each file's data is waited for when it is
// read, so that the next archive can tell what has changed since.
func (r *Runner) settleAll(readings []*reading) {
	for _, one := range readings {
		if !one.timed {
			continue
		}
		if err := durable.SyncFileSystem(one.folder.Path()); err != nil {
			r.Log.Warn("containers may be held longer than need be", "volume", one.volume.Name, "err", err)
		}
	}
}
