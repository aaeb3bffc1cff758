package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/seal"
	"github.com/backupd/backupd/internal/snapshot"
)

// Open opens a snapshot to read it at any point: the archive that has its index, and those that this one leans on when they are wanted. They
// are found by name, which is a snapshot's id, beside it, and must be the ones that the manifest speaks of.
func (c *Catalog) Open(ctx context.Context, m snapshot.Manifest) (*archive.Reader, error) {
	r, err := c.open(ctx, m)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", m.ID, err)
	}
	err = vouched(r, m.Index())
	for _, l := range r.Contents().Leans {
		if err == nil {
			_, err = leant(m, l)
		}
	}
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("snapshot %s: %w", m.ID, err)
	}
	return r, nil
}

func (c *Catalog) open(ctx context.Context, m snapshot.Manifest) (*archive.Reader, error) {
	source, size, err := c.source(ctx, m, m.Index())
	if err != nil {
		return nil, err
	}
	return archive.Open(ctx, source, size, archive.ReaderOptions{
		Cache: c.parts,
		Archive: func(ctx context.Context, l archive.Lean) (archive.Source, error) {
			a, err := leant(m, l)
			if err != nil {
				return nil, err
			}
			source, size, err := c.source(ctx, m, a)
			if err == nil && size != l.Size {
				err = fmt.Errorf("%w: it has %d bytes, and had %d when it was leaned on", archive.ErrDamaged, size, l.Size)
			}
			return source, err
		},
	})
}

// leant gives the archive of a manifest that another one of it leans on.
func leant(m snapshot.Manifest, l archive.Lean) (snapshot.Archive, error) {
	i := slices.IndexFunc(m.Archives, func(a snapshot.Archive) bool { return string(a.ID) == l.Name })
	switch {
	case i < 0:
		return snapshot.Archive{}, fmt.Errorf("%w: it leans on archive %.80q, which the manifest does not name", archive.ErrDamaged, l.Name)
	case m.Archives[i].Directory != l.Directory:
		return snapshot.Archive{}, fmt.Errorf("%w: it leans on another archive %s than the manifest speaks of: the digest of that one's directory is %x, and here %x",
			archive.ErrDamaged, l.Name, m.Archives[i].Directory, l.Directory)
	}
	return m.Archives[i], nil
}

// source gives the bytes of an archive, decrypted, and how many there are.
func (c *Catalog) source(ctx context.Context, m snapshot.Manifest, a snapshot.Archive) (archive.Source, int64, error) {
	stored := func(ctx context.Context, off, n int64) (io.ReadCloser, error) { return c.stored(ctx, m, a, off, n) }
	if a.Encryption == "" {
		return stored, a.Size, nil
	}
	object, err := seal.Open(ctx, stored, a.Size, c.keys)
	if err != nil {
		return nil, 0, unsealed(err)
	}
	if c.opened != nil {
		c.opened(m)
	}
	return object.Range, object.Size(), nil
}

// stored gives n bytes of an archive from an offset on, as they lie in the store; all from there on when n is negative.
func (c *Catalog) stored(ctx context.Context, m snapshot.Manifest, a snapshot.Archive, off, n int64) (io.ReadCloser, error) {
	r, err := c.store.Get(ctx, archiveKey(m, a), off, n)
	if err != nil {
		return nil, fmt.Errorf("read archive %s: %w", a.ID, err)
	}
	return r, nil
}

// Stream gives a snapshot as the stream of one archive, decrypted, and the digest of the directory that it must turn out to have: zero where
// there is none, since it was put together of several archives, and checked on the way. An archive that is gone although the manifest is
// there is archive.ErrDamaged.
func (c *Catalog) Stream(ctx context.Context, m snapshot.Manifest) (io.ReadCloser, snapshot.Digest, error) {
	if m.Leans() {
		r, err := c.streamWhole(ctx, m)
		return r, snapshot.Digest{}, err
	}
	r, err := c.streamStored(ctx, m, m.Index())
	return r, m.Index().Directory, err
}

func (c *Catalog) streamStored(ctx context.Context, m snapshot.Manifest, a snapshot.Archive) (io.ReadCloser, error) {
	r, err := c.stored(ctx, m, a, 0, -1)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: it is gone: %w", archive.ErrDamaged, err)
	}
	if err != nil || a.Encryption == "" {
		return r, err
	}
	plain, err := seal.Stream(r, c.keys)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", m.ID, errors.Join(unsealed(err), r.Close()))
	}
	return decrypted{plain, r}, nil
}

// streamWhole puts the stream together, for as long as it is read.
func (c *Catalog) streamWhole(ctx context.Context, m snapshot.Manifest) (io.ReadCloser, error) {
	from, err := c.Open(ctx, m)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(from.WriteWhole(ctx, w))
	}()
	return whole{r, func() {
		cancel()
		_ = r.Close() // never an error
		<-done
		from.Close()
	}}, nil
}

// whole is a stream that is being put together.
type whole struct {
	io.Reader
	end func()
}

func (w whole) Close() error {
	w.end()
	return nil
}

// Facts gives what it takes to make a snapshot's volume again.
func (c *Catalog) Facts(m snapshot.Manifest) (snapshot.Restore, error) {
	if len(m.Restore.Sealed) == 0 {
		return m.Restore, nil
	}
	var facts snapshot.Restore
	plain, err := seal.Unseal(m.Restore.Sealed, c.keys)
	if err == nil {
		err = json.Unmarshal(plain, &facts)
	}
	if err != nil {
		return snapshot.Restore{}, fmt.Errorf("snapshot %s: read the volume's options: %w", m.ID, err)
	}
	return facts, nil
}

// VerifyStored compares all bytes that an encrypted snapshot is read from with their digests, for which no key is needed: they are what was
// written. What is in them it cannot tell. Progress is called with the bytes that are done.
func (c *Catalog) VerifyStored(ctx context.Context, m snapshot.Manifest, progress func(done int64)) error {
	done := &counting{progress: progress}
	for _, a := range m.Archives {
		if err := c.writeSealed(ctx, m, a, done); err != nil && a.ID != m.Index().ID {
			return &archive.LeanError{Name: string(a.ID), Err: err}
		} else if err != nil {
			return err
		}
	}
	return nil
}

// writeSealed writes all bytes of an encrypted archive, and fails in the end unless they are those that the manifest vouches for.
func (c *Catalog) writeSealed(ctx context.Context, m snapshot.Manifest, a snapshot.Archive, w io.Writer) error {
	if a.Stored == (snapshot.Digest{}) {
		return fmt.Errorf("archive %s: the manifest has no digest of its stored bytes", a.ID)
	}
	r, err := c.stored(ctx, m, a, 0, -1)
	if err != nil {
		return unsealed(err)
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(sum, w), r)
	if err := errors.Join(err, r.Close()); err != nil {
		return unsealed(fmt.Errorf("read archive %s: %w", a.ID, err))
	}
	if got := snapshot.Digest(sum.Sum(nil)); got != a.Stored {
		return fmt.Errorf("archive %s: %w: the SHA-256 of its stored bytes is %x, and was %x", a.ID, archive.ErrDamaged, got, a.Stored)
	}
	return nil
}

type decrypted struct {
	plain io.Reader
	io.Closer
}

func (d decrypted) Read(p []byte) (int, error) {
	n, err := d.plain.Read(p)
	return n, unsealed(err)
}

// unsealed is an error of package seal as package archive has it.
func unsealed(err error) error {
	switch {
	case err == nil || err == io.EOF || errors.Is(err, seal.ErrLocked):
		return err
	case errors.Is(err, seal.ErrDamaged) || errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", archive.ErrDamaged, err)
	}
	return &archive.SourceError{Err: err}
}
