package catalog

import (
	"context"
	"fmt"
	"io"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/snapshot"
)

// Open opens the archive of a snapshot to read it at any point. What it leans on is found by name, which is a snapshot's id, beside it.
func (c *Catalog) Open(ctx context.Context, m snapshot.Manifest) (*archive.Reader, error) {
	own := m.Archives[0]
	r, err := archive.Open(ctx, c.source(m, own.ID), own.Size, archive.ReaderOptions{
		Archive: func(_ context.Context, l archive.Lean) (archive.Source, error) {
			id, err := snapshot.ParseID(l.Name)
			if err != nil {
				return nil, err
			}
			return c.source(m, id), nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", m.ID, err)
	}
	if got := r.Contents().Directory; got != own.Directory {
		r.Close()
		return nil, fmt.Errorf("snapshot %s: %w: it is another one than the manifest speaks of: the digest of its directory is %x, and was %x",
			m.ID, archive.ErrDamaged, got, own.Directory)
	}
	return r, nil
}

func (c *Catalog) source(m snapshot.Manifest, id snapshot.ID) archive.Source {
	ref := snapshot.Ref{Host: m.Host, Volume: m.Volume, ID: id}
	return func(ctx context.Context, off, n int64) (io.ReadCloser, error) { return c.OpenArchive(ctx, ref, off, n) }
}
