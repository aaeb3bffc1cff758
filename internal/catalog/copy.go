package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/snapshot"
)

// ErrSource marks why a copy failed for the place that it was made from: it is damaged there, or cannot be read. Another one may do.
var ErrSource = errors.New("the copy that it was to come from")

// Copy makes a snapshot exist in another store as it does in this one, byte for byte: all archives that it is read from, a pin if it is pinned, what came of drills, then its manifest. What
// the manifest vouches for is checked on the way, without any key, so that damage does not spread. Nothing is replaced: an archive that lies
// there already is taken when it is the very one, which it is without being read where another snapshot there is read from it. Progress is
// called with the bytes that are done, of all archives.
func (c *Catalog) Copy(ctx context.Context, to *Catalog, s Snapshot, progress func(done int64)) error {
	m, data, err := fetch(ctx, c.store, s.Ref())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSource, err)
	}
	there, err := to.shared(ctx, m)
	if err != nil {
		return err
	}
	done := &counting{progress: progress}
	for _, a := range slices.Backward(m.Archives) { // the own one last: the others are what more may need
		if there[a] {
			done.add(a.Size)
			continue
		}
		if err := c.copyArchive(ctx, to, m, a, done); err != nil {
			return fmt.Errorf("copy archive %s: %w", a.ID, err)
		}
	}
	if s.Pinned {
		if err := to.Pin(ctx, s.Ref()); err != nil {
			return err
		}
	}
	for _, t := range s.Drills {
		if err := c.CopyDrill(ctx, to, s.Ref(), t); err != nil {
			return err
		}
	}
	return to.commit(ctx, m, data)
}

// shared gives the archives of a manifest from another store that other snapshots in this one are read from, too: they were proven when
// they came, and are not known to be damaged since.
func (c *Catalog) shared(ctx context.Context, m snapshot.Manifest) (map[snapshot.Archive]bool, error) {
	if len(m.Archives) == 1 && m.Index().ID == m.ID {
		return nil, nil
	}
	sizes, err := c.sizes(ctx, m)
	if err != nil {
		return nil, err
	}
	l, err := c.Volume(ctx, m.Volume)
	if err != nil {
		return nil, err
	}
	shared := map[snapshot.Archive]bool{}
	for _, s := range l.Snapshots {
		for _, a := range s.Archives {
			if size, there := sizes[a.ID]; there && size == a.Size && s.Proof.Damaged == "" && !s.Spoiled {
				shared[a] = true
			}
		}
	}
	return shared, nil
}

// copyDrill copies what came of one. What was tidied away since it was listed, or is none, is no reason to go without the snapshot.
func (c *Catalog) copyDrill(ctx context.Context, to *Catalog, ref snapshot.Ref, t snapshot.Trial) error {
	data, err := c.drillData(ctx, ref, t)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSource, err)
	}
	d, unbelievable := snapshot.DecodeDrill(data, ref, t)
	if unbelievable != nil {
		return nil // it stays where it is, and is told where it is looked at
	}
	if err := to.putDrill(ctx, d); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func (c *Catalog) copyArchive(ctx context.Context, to *Catalog, m snapshot.Manifest, a snapshot.Archive, done *counting) error {
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	source := make(chan error, 1)
	go func() {
		err := c.writeProven(reading, m, a, io.MultiWriter(w, done))
		source <- err // before the other side can see it
		w.CloseWithError(err)
	}()
	err := to.PutArchive(ctx, snapshot.Ref{Host: m.Host, Volume: m.Volume, ID: a.ID}, a.Kind(), r)
	select {
	case spoiled := <-source:
		if spoiled != nil && ctx.Err() == nil {
			return fmt.Errorf("%w: %w", ErrSource, spoiled)
		}
	default: // the source has not ended, so it is not the reason
		r.CloseWithError(errors.New("nobody takes it any more"))
		cancel()
		<-source
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if other := to.writeProven(ctx, m, a, io.Discard); other != nil {
		return fmt.Errorf("%w, and is not the one that the manifest speaks of: %w", err, other)
	}
	return nil
}

// writeProven writes an archive as it is stored, and fails unless it is the one that the manifest speaks of: then something is missing of what
// was written, or too much.
func (c *Catalog) writeProven(ctx context.Context, m snapshot.Manifest, a snapshot.Archive, w io.Writer) error {
	if a.Encryption != "" {
		return c.writeSealed(ctx, m, a, w)
	}
	source, size, err := c.source(ctx, m, a)
	if err != nil {
		return err
	}
	r, err := archive.Open(ctx, source, size, archive.ReaderOptions{Workers: 1})
	if err != nil {
		return err
	}
	defer r.Close()
	if err := vouched(r, a); err != nil {
		return err
	}
	return r.WriteStored(ctx, w)
}

// vouched tells whether an archive is the one that a manifest speaks of.
func vouched(r *archive.Reader, a snapshot.Archive) error {
	if got := r.Contents().Directory; got != a.Directory {
		return fmt.Errorf("%w: it is another one than the manifest speaks of: the digest of its directory is %x, and was %x",
			archive.ErrDamaged, got, a.Directory)
	}
	return nil
}

// counting tells how much went by.
type counting struct {
	progress func(done int64)
	done     int64
}

func (c *counting) Write(p []byte) (int, error) {
	c.add(int64(len(p)))
	return len(p), nil
}

func (c *counting) add(n int64) {
	c.done += n
	c.progress(c.done)
}
