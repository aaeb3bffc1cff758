package drill

import (
	"context"
	"fmt"
	"io"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/recognise"
	"github.com/backupd/backupd/internal/restore"
	"github.com/backupd/backupd/internal/snapshot"
)

// Stored is a Source: the snapshots of a catalog, restored by a runner.
type Stored struct {
	*catalog.Catalog
	Restore *restore.Runner
	Locks   catalog.Locks
}

// Hold holds the lock of the volume, without which nobody removes any of its snapshots.
func (s Stored) Hold(ctx context.Context, m snapshot.Manifest) (release func() error, err error) {
	return s.Locks.Hold(ctx, m.Volume)
}

// ToVolume restores to an empty volume that there is.
func (s Stored) ToVolume(ctx context.Context, m snapshot.Manifest, volume string) (bytes int64, err error) {
	result, err := s.Restore.ToVolume(ctx, restore.Request{Snapshot: m, From: s.Catalog}, volume, nil)
	return result.Report.Bytes, err
}

// Databases looks into the archive for what it is of; only few files of it are fetched.
func (s Stored) Databases(ctx context.Context, m snapshot.Manifest) ([]recognise.Find, error) {
	from, err := s.Open(ctx, m)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	seen := recognise.New()
	for e, err := range from.Entries(ctx, ".") {
		if err != nil {
			return nil, err
		}
		file := e.Kind == archive.File
		if !file && e.Kind != archive.Folder || !seen.See(e.Path, !file, e.Size) {
			continue
		}
		head, err := readHead(ctx, from, e.Path)
		if err != nil {
			return nil, err
		}
		seen.Head(e.Path, head)
	}
	return seen.Finds(), nil
}

func readHead(ctx context.Context, from *archive.Reader, path string) ([]byte, error) {
	f, err := from.OpenFile(ctx, path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // it was only read from
	head, err := io.ReadAll(io.LimitReader(f, recognise.HeadSize))
	if err != nil {
		return nil, fmt.Errorf("read the beginning of %s: %w", path, err)
	}
	return head, nil
}
