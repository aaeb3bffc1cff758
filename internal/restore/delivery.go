package restore

import (
	"context"
	"fmt"
	"io"

	"github.com/backupd/backupd/internal/archive"
)

// delivery is a snapshot on its way into a folder, wherever that is. Every stored byte is checked.
type delivery struct {
	req Request
	o   archive.ExtractOptions
}

func (r *Runner) delivery(req Request) delivery {
	d := delivery{req, archive.ExtractOptions{Paths: req.Paths}}
	if r.Progress != nil {
		d.o.Progress = func(written int64) { r.Progress(written, req.Snapshot.Contents.Bytes) }
	}
	return d
}

// Size is the bytes that it takes. A part of a snapshot has no known size.
func (d delivery) Size() int64 {
	if d.Part() {
		return 0
	}
	return d.req.Snapshot.Index().Plain
}

// Part tells whether only some of the snapshot is wanted.
func (d delivery) Part() bool { return len(d.req.Paths) > 0 }

// Extract writes into a folder of this machine, and fetches no more than what is wanted.
func (d delivery) Extract(ctx context.Context, dir string) (archive.Report, error) {
	if d.Part() || d.req.Snapshot.Leans() {
		return d.indexed(ctx, dir)
	}
	return d.Send(ctx, func(from io.Reader, o archive.ExtractOptions) (archive.Report, error) {
		return archive.Extract(ctx, from, dir, o)
	})
}

// indexed goes by the index, and checks each piece that it fetches against its own digest.
func (d delivery) indexed(ctx context.Context, dir string) (archive.Report, error) {
	from, err := d.req.From.Open(ctx, d.req.Snapshot)
	if err != nil {
		return archive.Report{}, err
	}
	defer from.Close()
	report, err := from.Extract(ctx, dir, d.o)
	return report, d.named(err)
}

// Send gives the whole archive to a function that takes out of it what is wanted.
func (d delivery) Send(ctx context.Context, to func(io.Reader, archive.ExtractOptions) (archive.Report, error)) (archive.Report, error) {
	from, directory, err := d.req.From.Stream(ctx, d.req.Snapshot)
	if err != nil {
		return archive.Report{}, err
	}
	defer from.Close()
	o := d.o
	o.Directory = directory
	report, err := to(from, o)
	return report, d.named(err)
}

func (d delivery) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("restore snapshot %s: %w", d.req.Snapshot.ID, err)
}
