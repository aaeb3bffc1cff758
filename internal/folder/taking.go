package folder

import (
	"context"
	"io"

	"github.com/backupd/backupd/internal/archive"
	"github.com/backupd/backupd/internal/recognise"
)

// Summary is what went into the archive of a folder, and which databases that is.
type Summary struct {
	archive.Summary
	Databases []recognise.Find
}

// Taking is a folder's archive in the making.
type Taking struct {
	*archive.Taking
	seen *recognise.Observer
}

// take puts an observer of its own in place of whatever the options have. It is put here, and not by who asks, since none travels to where a
// helper has the folder.
func take(ctx context.Context, dir string, w io.Writer, o archive.Options) (*Taking, error) {
	seen := recognise.New()
	o.Observer = observer{seen}
	t, err := archive.Take(ctx, dir, w, o)
	if err != nil {
		return nil, err
	}
	return &Taking{t, seen}, nil
}

// Finish completes the archive, as the one of package archive does.
func (t *Taking) Finish(ctx context.Context) (Summary, error) {
	sum, err := t.Taking.Finish(ctx)
	if err != nil {
		return Summary{}, err
	}
	return Summary{sum, t.seen.Finds()}, nil
}

// observer shows what goes into an archive to who recognises databases.
type observer struct{ *recognise.Observer }

func (o observer) Member(e archive.Entry) (head bool) {
	switch e.Kind {
	case archive.Folder, archive.File, archive.Hardlink:
		return o.See(e.Path, e.Kind == archive.Folder, e.Size)
	}
	return false
}
