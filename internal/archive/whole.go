package archive

import (
	"context"
	"fmt"
	"io"
)

// WriteWhole writes the snapshot as an archive that leans on nothing, for whoever reads a stream: what lies in other archives is among its
// frames. It has no index, so its reader proves no more than the tar's end; each frame is checked here, against its own index, before it is written.
func (r *Reader) WriteWhole(ctx context.Context, w io.Writer) error {
	framer, err := newFramer(Fastest, 1)
	if err != nil {
		return err
	}
	out := wholeWriter{to: w, framer: framer}
	total := r.own.directory.Totals.Tar
	f := r.flow(ctx, one(span{0, total}))
	defer f.close()
	var met *block
	f.plain.meet = func(b *block) { met = b }
	for f.plain.at < total {
		plain, err := f.plain.some(frameSize)
		if err != nil {
			return fmt.Errorf("read tar: %w", damaged(ended(ctx, err)))
		}
		if whole := &met.piece.frame; len(plain) == whole.plain && len(met.stored) == whole.stored {
			err = out.frame(met.stored)
		} else { // a part, or one that is opened for several blocks
			err = out.pack(plain)
		}
		if err != nil {
			return fmt.Errorf("write archive: %w", err)
		}
	}
	if err := out.flush(); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return nil
}

// wholeWriter writes frames that are there, and packs what is parts of others into new ones.
type wholeWriter struct {
	to     io.Writer
	framer *framer
	parts  block
}

func (w *wholeWriter) frame(stored []byte) error {
	if err := w.flush(); err != nil {
		return err
	}
	_, err := w.to.Write(stored)
	return err
}

func (w *wholeWriter) pack(plain []byte) error {
	for len(plain) > 0 {
		n := min(len(plain), frameSize-len(w.parts.plain))
		w.parts.plain = append(w.parts.plain, plain[:n]...)
		plain = plain[n:]
		if len(w.parts.plain) == frameSize {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush writes what has been packed.
func (w *wholeWriter) flush() error {
	if len(w.parts.plain) == 0 {
		return nil
	}
	w.framer.frame(&w.parts)
	_, err := w.to.Write(w.parts.stored)
	w.parts.plain = w.parts.plain[:0]
	return err
}
