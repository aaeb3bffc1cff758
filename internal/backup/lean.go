package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/folder"
	"github.com/backupd/backupd/internal/snapshot"
)

// Bases knows earlier archives by their indexes, which are on this host.
type Bases interface {
	// Open gives that of a volume which the next one may lean on, if the targets agree: errors.Is(err, fs.ErrNotExist) holds for none. Whatever
	// is wrong with it means that more is read.
	Open(ctx context.Context, host, volume string) (Base, error)
}

// Base is an archive that the next one of its volume may lean on.
type Base struct {
	archive.Base
	Archives []snapshot.Archive // that its snapshot is read from, the one with the index first
	io.Closer
}

// lean has a run lean on what was archived before, if every target that takes part has all of that and nothing bad is known of it.
func (r *Runner) lean(ctx context.Context, one *reading) {
	if r.Bases == nil {
		return
	}
	base, err := r.Bases.Open(ctx, r.Identity.Host, one.volume.Name)
	if err != nil {
		r.Log.Debug("a run leans on nothing", "volume", one.volume.Name, "err", err)
		return
	}
	on, ok := one.agreed(base.Archives, r.Identity.Owner)
	if !ok {
		r.Log.Info("a run leans on nothing, as not every target has all of the last one, or something is wrong with it there", "volume", one.volume.Name, "archive", base.Archives[0].ID)
		r.closeBase(one, base)
		return
	}
	one.base, one.on = &base, on
}

func (r *Runner) closeBase(one *reading, base Base) {
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
	if one.unchanged = one.base != nil && sum.Unchanged; one.unchanged {
		one.stream.End(errUnchanged)
		return
	}
	one.stream.End(nil)
}

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
