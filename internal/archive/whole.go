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
		stored := met.stored
		if len(plain) < met.piece.frame.plain || len(stored) < met.piece.frame.stored { // a part, or one that is opened for several blocks
			part := block{plain: plain}
			framer.frame(&part)
			stored = part.stored
		}
		if _, err := w.Write(stored); err != nil {
			return fmt.Errorf("write archive: %w", err)
		}
	}
	return nil
}
