package archive

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
)

// WriteStored writes all of the archive as it is stored, each part only once its digest is the one that the directory vouches for. Nothing
// is decompressed. What is damaged is ErrDamaged, and what cannot be read a SourceError; other errors are w's.
func (r *Reader) WriteStored(ctx context.Context, w io.Writer) error {
	o := r.own
	if err := o.writeFrames(ctx, w); err != nil {
		return err
	}
	for i := range o.directory.Blocks {
		b := &o.directory.Blocks[i]
		section, err := o.fetch(ctx, b.place, b.Length)
		if err = proven(section, b.Digest, err); err != nil {
			return fmt.Errorf("read %v at %d: %w", b.Kind, b.place, err)
		}
		if _, err := w.Write(section); err != nil {
			return err
		}
	}
	directory, err := o.fetch(ctx, o.trailer.directory, o.trailer.length)
	if err = proven(directory, o.trailer.digest, err); err != nil {
		return fmt.Errorf("read directory: %w", err)
	}
	_, err = w.Write(o.trailer.append(directory[:len(directory):len(directory)]))
	return err
}

// writeFrames writes the data frames, which lie beside one another from the beginning on.
func (o *origin) writeFrames(ctx context.Context, w io.Writer) error {
	r, err := o.source(ctx, 0, o.trailer.index)
	if err != nil {
		return fmt.Errorf("read data: %w", damaged(err))
	}
	defer r.Close() // it was only read from
	stored := make([]byte, 0, maxStoredFrame)
	for f, err := range o.framesFrom(ctx, 0) {
		if err != nil {
			return damaged(err)
		}
		stored = stored[:f.stored]
		_, err := io.ReadFull(r, stored)
		if err = proven(stored, f.digest, unexpected(err)); err != nil {
			return fmt.Errorf("read data at %d: %w", f.place, err)
		}
		if _, err := w.Write(stored); err != nil {
			return err
		}
		if f.place+int64(f.stored) == o.trailer.index {
			break
		}
	}
	return nil
}

// proven tells whether bytes, which were read with this error, are those of a digest.
func proven(stored []byte, digest [sha256.Size]byte, err error) error {
	if err == nil && sha256.Sum256(stored) != digest {
		err = errDigest
	}
	return damaged(err)
}
