package folder

import (
	"context"
	"iter"

	"github.com/backupd/backupd/internal/archive"
)

// Entries gives what is in the folder, as archive.Walk does, without what a restore may be about to put there.
func (f Folder) Entries(ctx context.Context) iter.Seq2[archive.Indexed, error] {
	return archive.Walk(ctx, f.path, archive.Options{Exclude: notContent()})
}
