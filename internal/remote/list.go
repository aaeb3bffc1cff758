package remote

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/backupd/backupd/internal/archive"
)

// list sends what is in the folder, in pieces as an archive is sent.
func (s *server) list(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.watch(cancel)
	out := bufio.NewWriterSize(pieces{s.wire}, pieceful)
	encoder := gob.NewEncoder(out)
	for e, err := range s.folder.Entries(ctx) {
		if err == nil {
			err = encoder.Encode(e)
		}
		if err != nil {
			return err
		}
	}
	return out.Flush()
}

// Entries gives what is in the folder, as archive.Walk does. Nothing else can be asked of the folder meanwhile.
func (f *Folder) Entries(ctx context.Context) iter.Seq2[archive.Indexed, error] {
	return func(yield func(archive.Indexed, error) bool) {
		defer f.cutAt(ctx, 0)()
		from, to := io.Pipe()
		heard := make(chan struct{})
		go func() {
			defer close(heard)
			_, err := f.ask(ctx, request{Do: doList}, nil, to)
			to.CloseWithError(err)
		}()
		decoder := gob.NewDecoder(from)
		for {
			var e archive.Indexed
			err := decoder.Decode(&e)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				err = fmt.Errorf("list what is in the volume: %w", err)
			}
			if !yield(e, err) || err != nil {
				break
			}
		}
		_, _ = io.Copy(io.Discard, from) // so that the next request finds the stream at its beginning
		<-heard
	}
}
